// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// damage is what somebody else did to a Secret that was as it should be.
type damage struct {
	// deed is what was done; empty when nothing was.
	deed string
	// rival is who did it, in words.
	rival string
}

// damage compares the Secret with what was published. It is called with the
// Secret of the API server, not of the cache.
func (r *Reconciler) damage(p *pass) damage {
	binding := p.token.Status.Binding
	switch {
	case !p.settled || binding == nil || binding.Name != p.token.SecretName():
		return damage{} // what is written is what the spec newly asks for
	case p.secret == nil:
		return damage{deed: "deleted", rival: "somebody"}
	case p.held != nil && r.published(p):
		return damage{}
	}
	rival := "somebody"
	if manager := r.Secrets.Contester(p.secret, tokenKeys); manager != "" {
		rival = fmt.Sprintf("field manager %q", manager)
	}
	return damage{deed: "changed", rival: rival}
}

// published tells whether the Secret is as it is wanted for the token in it.
func (r *Reconciler) published(p *pass) bool {
	return p.held != nil && r.Secrets.Matches(p.secret, wanted(p.token, p.held))
}

// pace holds back a repair that comes too soon after the one before: it would be
// undone like that one, and each costs a token.
func (r *Reconciler) pace(p *pass, d damage) error {
	if d.deed == "" {
		return nil
	}
	wait := r.memory.nextRepair(p.name(), p.now).Sub(p.now)
	if wait <= 0 {
		return nil
	}
	return status.WaitingError(v1alpha1.ReasonSecretContested, wait,
		"Secret %s was %s again by %s right after it was repaired, and each repair waits longer: %s",
		p.token.SecretName(), d.deed, d.rival, p.rivalAdvice())
}

// repaired remembers a repair and tells of it.
func (r *Reconciler) repaired(p *pass, d damage) {
	if d.deed == "" || !r.published(p) {
		return
	}
	r.memory.repaired(p.name(), p.now, d.rival)
	r.event(p.token, corev1.EventTypeWarning, eventSecretRestored, actionRepair,
		"Secret %s was %s by %s and was written anew", p.token.SecretName(), d.deed, d.rival)
}
