// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"

	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// giveBack gives the client the secret in the Secret, which the server has
// forgotten. One that somebody revoked is refused, and one that is known under
// another id changes nothing: then another is made, as for any secret that is not
// valid.
func (p *pass) giveBack(ctx context.Context) error {
	stored := p.stored()
	if stored != nil {
		answer, err := p.connection.Update(ctx, p.app.Status.ClientID, registrar.Fields{ClientSecret: &stored.value})
		if err == nil && answer.ClientSecretID != "" && answer.ClientSecret == stored.value {
			p.revision = answer.Revision
			p.made = &clientSecret{id: answer.ClientSecretID, value: stored.value}
			return nil
		}
		if err != nil && !registrar.IsInvalid(err) {
			return err
		}
	}
	return p.changeSecret(ctx, plan.Action{Kind: plan.MakeSecret})
}
