// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// silent is a server some of whose answers tell no revision.
type silent struct{ inventory.API }

func (silent) PutScopes(context.Context, string, []oauth.ContextScope) error { return nil }

func (silent) ScopeCatalogue(context.Context) ([]string, error) { return nil, nil }

func (silent) DeleteSecret(context.Context, string, string) error { return nil }

func (silent) AddSecret(context.Context, string, time.Duration) (*oauth.Secret, error) {
	return &oauth.Secret{ID: "s2", ClientSecret: "cas_2"}, nil
}

func (silent) Update(context.Context, string, registrar.Fields) (*oauth.ConnectedApp, error) {
	return &oauth.ConnectedApp{Revision: "r2"}, nil
}

// The revision from before a write is no proof of what the write made: a server
// that is put back from a copy has it again.
func TestARevisionIsOfWhatWasRecordedWithIt(t *testing.T) {
	for name, row := range map[string]struct {
		actions []plan.Action
		want    string
	}{
		"nothing was written": {nil, "r1"},
		"an answer tells it":  {[]plan.Action{{Kind: plan.Update}}, "r2"},
		"scopes":              {[]plan.Action{{Kind: plan.AssignScopes}}, ""},
		"scopes first":        {[]plan.Action{{Kind: plan.AssignScopes}, {Kind: plan.Update}}, "r2"},
		"scopes last":         {[]plan.Action{{Kind: plan.Update}, {Kind: plan.AssignScopes}}, ""},
		"a new secret":        {[]plan.Action{{Kind: plan.MakeSecret}}, ""},
		"a secret less":       {[]plan.Action{{Kind: plan.DeleteSecret, ID: "s0"}}, ""},
		"all is well until a secret fails": {
			[]plan.Action{{Kind: plan.Update}, {Kind: plan.DeleteSecret, ID: "s0"}, {Kind: "fails"}}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			s.connection = &inventory.Connection{Inventory: inventory.New(silent{}, inventory.Options{})}
			s.revision = "r1"
			s.result = plan.Make(s.in)
			s.result.Actions = row.actions
			err := (&Reconciler{}).execute(t.Context(), s.pass)
			if n := len(row.actions); n > 0 && row.actions[n-1].Kind == "fails" {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, row.want, s.app.Status.Compared.Revision)
		})
	}
}
