// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"fmt"
	"regexp"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"connectedapps.dev/operator/api/v1alpha1"
)

// lacking is a right that the user has not.
type lacking struct {
	// namespace is empty for a right in the whole cluster.
	user, verb, resource, group, namespace string
	err                                    error
}

// cannot is how the API server's authorizers word what a user may not. What
// admission policies and webhooks refuse, they say in words of their own.
var cannot = regexp.MustCompile(` is forbidden: User "(.*)" cannot (\S+) resource "(\S+)" in API group "(\S*)" ` +
	`(?:in the namespace "(\S+)"|at the cluster scope)`)

// asLacking is the right that an error of the API server is about; nil: none.
func asLacking(err error) *lacking {
	if !apierrors.IsForbidden(err) {
		return nil
	}
	match := cannot.FindStringSubmatch(err.Error())
	if match == nil {
		return nil
	}
	return &lacking{user: match[1], verb: match[2], resource: match[3], group: match[4], namespace: match[5], err: err}
}

func (l *lacking) Error() string {
	where, ask := "in the whole cluster", "ask the platform team"
	if l.namespace != "" {
		where, ask = "in namespace "+l.namespace, "ask for the role edit there"
		if l.group == v1alpha1.GroupVersion.Group && slices.Contains([]string{"get", "list", "watch"}, l.verb) {
			ask = "ask for the role view or edit there"
		}
	}
	return fmt.Sprintf("you, user %s, may not %s %s %s: %s", l.user, l.verb, l.resource, where, ask)
}

func (l *lacking) Unwrap() error { return l.err }
