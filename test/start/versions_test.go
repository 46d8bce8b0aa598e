// SPDX-License-Identifier: Apache-2.0

package start

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// TestThePagesNameWhatTheirProgramsWereRunWith: a program that is run with another
// version says so on its page.
func TestThePagesNameWhatTheirProgramsWereRunWith(t *testing.T) {
	const (
		tokens = "token-programs.md"
		signIn = "sign-in-programs.md"
	)
	for _, row := range []struct {
		name, version string
		pages         []string
		// theMachine has it, and the page names what CI has.
		theMachine bool
	}{
		{name: "golang.org/x/oauth2", version: module(t, "golang.org/x/oauth2"), pages: []string{tokens, signIn}},
		{name: "github.com/coreos/go-oidc/v3", version: module(t, "github.com/coreos/go-oidc/v3"), pages: []string{signIn}},
		{name: "openid-client", version: packageVersion(t, "openid-client"), pages: []string{tokens, signIn}},
		{name: "oauth2-proxy", version: oauth2Proxy(t), pages: []string{signIn}},
		{name: "Node.js", version: printed(t, `v(\d+)`, "node", "--version"), pages: []string{tokens, signIn}, theMachine: true},
		{name: "Java", version: printed(t, ` (\d+)`, "java", "--version"), pages: []string{tokens}, theMachine: true},
		{name: "Spring Framework", version: printed(t, `(.+)-`, "dpkg-query", "--show", "--showformat=${Version}", "libspring-web-java"), pages: []string{tokens}, theMachine: true},
		{name: "Python", version: printed(t, ` (\d+\.\d+)`, debianPython, "--version"), pages: []string{tokens, signIn}, theMachine: true},
		{name: "requests", version: imported(t, "requests"), pages: []string{tokens, signIn}, theMachine: true},
		{name: "Authlib", version: imported(t, "authlib"), pages: []string{tokens, signIn}, theMachine: true},
		{name: "Flask", version: imported(t, "flask"), pages: []string{signIn}, theMachine: true},
	} {
		for _, page := range row.pages {
			text := read(t, filepath.Join(testenv.ModuleRoot(), "docs", "start", page))
			named := regexp.MustCompile(`[|,] ` + regexp.QuoteMeta(row.name) + ` (v?[\d.]*\d)`).FindStringSubmatch(text)
			require.NotNil(t, named, "%s does not name the version of %s", page, row.name)
			if row.theMachine && os.Getenv("CI") == "" && named[1] != row.version {
				t.Logf("%s was run with %s %s; this machine has %s", page, row.name, named[1], row.version)
				continue
			}
			require.Equal(t, row.version, named[1], "%s: %s", page, row.name)
		}
	}
}

func module(t *testing.T, path string) string {
	t.Helper()
	return printed(t, `(v.*)`, "go", "list", "-m", "-f", "{{.Version}}", path)
}

func oauth2Proxy(t *testing.T) string {
	t.Helper()
	return printed(t, `\sgithub.com/oauth2-proxy/oauth2-proxy/v7\s+(v[\d.]+)`, "go", "version", "-m",
		filepath.Join(testenv.ModuleRoot(), "bin", "clients", "oauth2-proxy"))
}

func packageVersion(t *testing.T, name string) string {
	t.Helper()
	var description struct {
		Version string `json:"version"`
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, filepath.Join(nodeModules(t), name, "package.json"))), &description))
	return description.Version
}

func imported(t *testing.T, name string) string {
	t.Helper()
	return printed(t, `(.+)`, debianPython, "-W", "ignore", "-c", "import "+name+"; print("+name+".__version__)")
}

// printed is the part of what a command prints that a pattern has in brackets.
func printed(t *testing.T, pattern, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = testenv.ModuleRoot()
	out, err := command.Output()
	require.NoError(t, err, "%s %s", name, strings.Join(args, " "))
	match := regexp.MustCompile(pattern).FindStringSubmatch(string(out))
	require.NotNil(t, match, string(out))
	return match[1]
}
