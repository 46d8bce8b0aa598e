// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// RunDocumented is Run for tests of controllers: whatever conditions their objects
// show at any time must be in docs/reference/conditions.md, with that status and
// reason.
func RunDocumented(m *testing.M, plane **ControlPlane) int {
	return run(m, plane, func(p *ControlPlane) (check func() error, err error) {
		documented, err := documentedConditions()
		if err != nil {
			return nil, err
		}
		shown, err := p.watchConditions()
		if err != nil {
			return nil, err
		}
		return func() error {
			undocumented := shown()
			maps.DeleteFunc(undocumented, func(condition string, _ bool) bool { return documented[condition] })
			if len(undocumented) == 0 {
				return nil
			}
			return fmt.Errorf("objects showed what docs/reference/conditions.md does not have (correct the comments of api/v1alpha1/conditions.go):\n%s",
				strings.Join(slices.Sorted(maps.Keys(undocumented)), "\n"))
		}, nil
	})
}

// watchConditions notes what objects show until the returned function is called, as
// "Kind Condition=Status Reason".
func (p *ControlPlane) watchConditions() (shown func() map[string]bool, err error) {
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var mutex sync.Mutex
	seen := map[string]bool{}
	for kind, list := range map[string]client.ObjectList{
		"ConnectedApp": &v1alpha1.ConnectedAppList{}, "AccessToken": &v1alpha1.AccessTokenList{}, "TokenServer": &v1alpha1.TokenServerList{},
	} {
		watched, err := p.Client.Watch(ctx, list)
		if err != nil {
			stop()
			return nil, fmt.Errorf("watching objects of kind %s: %w", kind, err)
		}
		all.Go(func() {
			for event := range watched.ResultChan() {
				object, ok := event.Object.(interface{ GetConditions() *[]metav1.Condition })
				if !ok {
					continue
				}
				mutex.Lock()
				for _, c := range *object.GetConditions() {
					seen[fmt.Sprintf("%s %s=%s %s", kind, c.Type, c.Status, c.Reason)] = true
				}
				mutex.Unlock()
			}
		})
	}
	return func() map[string]bool {
		stop()
		all.Wait()
		return seen
	}, nil
}

// documentedConditions are those of the page in the form of watchConditions.
func documentedConditions() (map[string]bool, error) {
	page, err := os.ReadFile(filepath.Join(ModuleRoot(), "docs/reference/conditions.md"))
	if err != nil {
		return nil, err
	}
	documented, kind := map[string]bool{}, ""
	row := regexp.MustCompile("^\\| `(\\w+)` \\| (\\w*) \\| ([^|]*) \\| ")
	for line := range strings.Lines(string(page)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			kind = strings.TrimSpace(heading)
		}
		cells := row.FindStringSubmatch(line)
		if cells == nil {
			continue
		}
		if cells[2] != "" {
			documented[fmt.Sprintf("%s Ready=%s %s", kind, cells[2], cells[1])] = true
		}
		for _, other := range regexp.MustCompile(", | or ").Split(cells[3], -1) {
			condition, status, ok := strings.Cut(other, " ")
			if !ok {
				status = "True" // Reconciling and Stalled have no other
			}
			documented[fmt.Sprintf("%s %s=%s %s", kind, condition, status, cells[1])] = true
		}
	}
	return documented, nil
}
