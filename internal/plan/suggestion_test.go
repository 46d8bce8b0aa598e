// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/plan"
)

func TestUnknownScopes(t *testing.T) {
	catalogue := []string{"full", "profile", "email", "view:environment", "edit:environment", "read:applications", "offline_access"}
	for name, row := range map[string]struct {
		scopes []string
		want   []plan.Suggestion
	}{
		"known names":            {scopes: []string{"profile", "view:environment"}},
		"no names":               {},
		"a letter left out":      {[]string{"view:enviroment"}, []plan.Suggestion{{Scope: "view:enviroment", Nearest: "view:environment"}}},
		"a letter too many":      {[]string{"profille"}, []plan.Suggestion{{Scope: "profille", Nearest: "profile"}}},
		"another letter":         {[]string{"emaik"}, []plan.Suggestion{{Scope: "emaik", Nearest: "email"}}},
		"two letters swapped":    {[]string{"fulL", "flul"}, []plan.Suggestion{{Scope: "fulL", Nearest: "full"}, {Scope: "flul", Nearest: "full"}}},
		"the nearer of two":      {[]string{"edt:environment"}, []plan.Suggestion{{Scope: "edt:environment", Nearest: "edit:environment"}}},
		"a name by itself":       {[]string{"payments:refund"}, []plan.Suggestion{{Scope: "payments:refund"}}},
		"too short to be near":   {[]string{"f"}, []plan.Suggestion{{Scope: "f"}}},
		"three letters are near": {[]string{"read:aplicatns"}, []plan.Suggestion{{Scope: "read:aplicatns", Nearest: "read:applications"}}},
		"four letters are not":   {[]string{"read:apicatns"}, []plan.Suggestion{{Scope: "read:apicatns"}}},
		"each once, in order":    {[]string{"b", "profile", "a", "b"}, []plan.Suggestion{{Scope: "b"}, {Scope: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.want, plan.UnknownScopes(row.scopes, catalogue))
		})
	}
	require.Nil(t, plan.UnknownScopes([]string{"anything"}, nil), "a server without a catalogue")
}

func TestWhatIsSaidOfAnUnknownScope(t *testing.T) {
	require.Equal(t, "scope view:enviroment is not in the token server's catalogue, which has view:environment: if that is meant, correct spec.scopes",
		plan.Suggestion{Scope: "view:enviroment", Nearest: "view:environment"}.String())
	require.Equal(t, "scope payments:refund is not in the token server's catalogue, which has no similar name: "+
		"if no service knows the scope, a token with it is good for nothing; correct spec.scopes",
		plan.Suggestion{Scope: "payments:refund"}.String())
	long := plan.Suggestion{Scope: strings.Repeat("x", 128), Nearest: strings.Repeat("y", 5000)}
	require.Less(t, len(long.String()), 300)
}

func TestAllUnknownScopesAreTold(t *testing.T) {
	var scopes []string
	for i := range 1000 {
		scopes = append(scopes, fmt.Sprintf("view:applications:%d", i))
	}
	unknown := plan.UnknownScopes(scopes, []string{"view:applications:x"})
	require.Len(t, unknown, 1000)
	require.Equal(t, plan.Suggestion{Scope: "view:applications:0", Nearest: "view:applications:x"}, unknown[0])
	require.Equal(t, plan.Suggestion{Scope: "view:applications:999"}, unknown[999], "the work is bounded")
}
