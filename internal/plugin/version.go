// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Labels of what the product installs.
const (
	labelName      = "app.kubernetes.io/name"
	labelComponent = "app.kubernetes.io/component"
	product        = "connectedapps"
)

// Versions are those of the parts of the product that work together.
type Versions struct {
	Client string `json:"client"`
	// Parts are those in the cluster: the manager, and the bundled token server.
	Parts []PartVersion `json:"parts,omitempty"`
	// Skew says which are further apart than one minor version.
	Skew []string `json:"skew,omitempty"`
}

// PartVersion is the version of one part: by the tag of its image, which is what a
// release names.
type PartVersion struct {
	Component  string `json:"component"`
	Deployment string `json:"deployment,omitempty"`
	Version    string `json:"version,omitempty"`
	// Unknown is why there is no version; empty: there is one.
	Unknown string `json:"unknown,omitempty"`
}

// Version tells the versions of the plugin, and of manager and token server to those
// who may read their Deployments.
func (p *Plugin) Version(ctx context.Context, client string, clientOnly bool) error {
	v := Versions{Client: client}
	var failed error
	if !clientOnly {
		for _, component := range []string{"manager", "tokenserver"} {
			parts, err := p.parts(ctx, component)
			if failed == nil {
				failed = err
			}
			v.Parts = append(v.Parts, parts...)
		}
		v.Skew = v.skew()
	}
	if err := p.write(answer{v, nil, v.print}); err != nil {
		return err
	}
	return failed
}

// parts are the Deployments of a component.
func (p *Plugin) parts(ctx context.Context, component string) ([]PartVersion, error) {
	list := &appsv1.DeploymentList{}
	err := p.Client.List(ctx, list, client.InNamespace(p.system()), client.MatchingLabels{labelName: product, labelComponent: component})
	part := PartVersion{Component: component}
	switch {
	case apierrors.IsForbidden(err):
		part.Unknown = "you may not read Deployments in namespace " + p.system()
		return []PartVersion{part}, nil
	case err != nil:
		part.Unknown = "the cluster does not answer"
		return []PartVersion{part}, worded(err, "reading Deployments in namespace "+p.system())
	case len(list.Items) == 0:
		part.Unknown = "there is no Deployment of it in namespace " + p.system()
		return []PartVersion{part}, nil
	}
	var parts []PartVersion
	for _, d := range list.Items {
		part := PartVersion{Component: component, Deployment: d.Name}
		for _, container := range d.Spec.Template.Spec.Containers {
			if container.Name == component {
				part.Version = tagOf(container.Image)
			}
		}
		if part.Version == "" {
			part.Unknown = "its image has no tag"
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// tagOf is the tag of an image: registry:port/name:tag@digest.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, tag, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return tag
}

// skew says which parts are further apart than one minor version. What is no
// version, such as that of a build, is not judged.
func (v *Versions) skew() []string {
	type part struct{ name, text string }
	all := []part{{"client", v.Client}}
	for _, p := range v.Parts {
		all = append(all, part{p.Component, p.Version})
	}
	var skew []string
	for i, a := range all {
		for _, b := range all[i+1:] {
			one, err := version.ParseGeneric(a.text)
			other, err2 := version.ParseGeneric(b.text)
			if err != nil || err2 != nil {
				continue
			}
			if one.GreaterThan(other) {
				a, b, one, other = b, a, other, one
			}
			if one.Major() != other.Major() || other.Minor()-one.Minor() > 1 {
				skew = append(skew, fmt.Sprintf("the %s, %s, is more than one minor version behind the %s, %s: update it", a.name, a.text, b.name, b.text))
			}
		}
	}
	return skew
}

func (v *Versions) print(w io.Writer) {
	rows := [][2]string{{"client", v.Client}}
	for _, p := range v.Parts {
		rows = append(rows, [2]string{p.Component, cmp.Or(p.Version, "not known: "+p.Unknown)})
	}
	for _, s := range v.Skew {
		rows = append(rows, [2]string{"skew", s})
	}
	for _, row := range rows {
		_, _ = fmt.Fprintf(w, "%-*s   %s\n", len("tokenserver"), row[0], line(row[1]))
	}
}
