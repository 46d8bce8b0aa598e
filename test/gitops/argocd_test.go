// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// checks is the folder of the health check, in the layout that Argo CD has for its
// own: a "_" stands for any kind.
var checks = config("argocd/resource_customizations/connectedapps.dev/_")

// health is what Argo CD shows of an object.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// argoHealth runs the health check as Argo CD does, with no more of Lua and no more
// time than it allows a script from argocd-cm.
func argoHealth(t testing.TB, object map[string]any) health {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		require.NoError(t, state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luaValue(state, object))
	require.NoError(t, state.DoString(read(t, filepath.Join(checks, "health.lua"))))
	result, ok := state.Get(-1).(*lua.LTable)
	require.True(t, ok, "the script returns a table")
	shown := health{lua.LVAsString(result.RawGetString("status")), lua.LVAsString(result.RawGetString("message"))}
	require.NotEmpty(t, shown.Message)
	return shown
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for name, member := range v {
			table.RawSetString(name, luaValue(state, member))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, member := range v {
			table.Append(luaValue(state, member))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}

// healthTests is the file health_test.yaml of Argo CD.
type healthTests struct {
	Tests []healthTest `json:"tests"`
}

type healthTest struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

// TestTheFixturesOfArgoCDPass does what Argo CD's own tests do with such a folder.
func TestTheFixturesOfArgoCDPass(t *testing.T) {
	var file healthTests
	require.NoError(t, yaml.UnmarshalStrict([]byte(read(t, filepath.Join(checks, "health_test.yaml"))), &file))
	var used []string
	for _, test := range file.Tests {
		t.Run(filepath.Base(test.InputPath), func(t *testing.T) {
			var object map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(read(t, filepath.Join(checks, test.InputPath))), &object))
			require.Equal(t, test.HealthStatus, argoHealth(t, object))
		})
		used = append(used, filepath.Join(checks, test.InputPath))
	}
	all, err := filepath.Glob(filepath.Join(checks, "testdata", "*"))
	require.NoError(t, err)
	require.ElementsMatch(t, all, used, "each fixture has a test")
}

// TestArgoCDIsGivenOneScript: whatever way it comes into argocd-cm, it is the file.
func TestArgoCDIsGivenOneScript(t *testing.T) {
	script := read(t, filepath.Join(checks, "health.lua"))
	var rendered corev1.ConfigMap
	require.NoError(t, yaml.UnmarshalStrict([]byte(plane.Kubectl(t).Run(t, "", "kustomize", config("argocd"))), &rendered))
	require.Equal(t, "argocd/argocd-cm", rendered.Namespace+"/"+rendered.Name)
	kinds := map[string]string{}
	for _, kind := range []string{"TokenServer", "ConnectedApp", "AccessToken"} {
		kinds["resource.customizations.health.connectedapps.dev_"+kind] = script
	}
	require.Equal(t, kinds, rendered.Data)

	// The page has it without the comment of the file.
	_, script, _ = strings.Cut(script, "local status")
	script = regexp.MustCompile("(?m)^").ReplaceAllString(strings.TrimSpace("local status"+script), "        ")
	require.Contains(t, page(t), "      health.lua: |\n"+script+"\n```")
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
