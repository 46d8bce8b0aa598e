// SPDX-License-Identifier: Apache-2.0

// Package program says which programs there are, how they are built so that the
// same source gives the same bytes anywhere, and what an image of one has in it.
package program

import (
	"cmp"
	"os"
	"slices"
	"strings"
)

// Module is the path of the product's module; its packages are below.
const Module = "connectedapps.dev/operator"

// Program is one binary of the product.
type Program struct {
	Name        string
	Title       string
	Description string
	// Tags are build constraints.
	Tags string
	// Budget is the most that its image may have, compressed, in bytes.
	Budget int64
}

// Images are the programs that run in clusters.
var Images = []Program{
	{
		Name: "manager", Title: "Connected Apps manager", Budget: 22e6,
		Description: "The operator: registers ConnectedApps with a token server and keeps their Secrets and tokens",
	},
	{
		Name: "tokenserver", Title: "Connected Apps token server", Budget: 9e6,
		Description: "An OAuth 2.0 and OpenID Connect token server, compatible with Anypoint's connected apps",
	},
	{
		// Without HTTP/2, which its few requests have no use for: it is small in every Pod.
		Name: "refresher", Title: "Connected Apps refresher", Budget: 4e6, Tags: "nethttpomithttp2",
		Description: "The sidecar that keeps a token fresh in a file",
	},
}

// Plugin is the one that people run beside kubectl.
var Plugin = Program{Name: "kubectl-connectedapp", Title: "kubectl connectedapp"}

// Platform is an operating system and a processor, in Go's words.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// ImagePlatforms are those of nodes.
var ImagePlatforms = []Platform{{"linux", "amd64"}, {"linux", "arm64"}}

// PluginPlatforms are those of people.
var PluginPlatforms = []Platform{
	{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

// File is what the program's file is called.
func (p Program) File(platform Platform) string {
	if platform.OS == "windows" {
		return p.Name + ".exe"
	}
	return p.Name
}

// BuildFlags are those of go build, before the package. Neither the folder nor the
// state of the repository is in what they give.
func (p Program) BuildFlags(version string) []string {
	flags := []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version=" + version}
	if p.Tags != "" {
		flags = append(flags, "-tags="+p.Tags)
	}
	return flags
}

// Package is what go build takes, in the root of the repository.
func (p Program) Package() string { return "./cmd/" + p.Name }

// Environment is this process's, without what would change the result of a build.
func Environment(platform Platform) []string {
	kept := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{
			"GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOFIPS140", "GODEBUG", "CGO_ENABLED", "GOOS", "GOARCH",
		}, name)
	})
	return append(kept, "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+platform.OS, "GOARCH="+platform.Arch)
}

// Find is the program of an image.
func Find(name string) (Program, bool) {
	i := slices.IndexFunc(Images, func(p Program) bool { return p.Name == name })
	if i < 0 {
		return Program{}, false
	}
	return Images[i], true
}

// Names are those of some programs, in order.
func Names(programs []Program) []string {
	names := make([]string, 0, len(programs))
	for _, p := range programs {
		names = append(names, p.Name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}
