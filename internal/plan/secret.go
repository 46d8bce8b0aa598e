// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
)

const (
	// maxReplaced is the number of client secrets that were published, replaced
	// and are still accepted. Servers accept a hundred; more than a few are a
	// leak, or a fight about the Secret.
	maxReplaced = 10
	// firstRepairPause follows the second repair of a Secret within
	// repairsForgotten, and doubles up to longestRepairPause.
	firstRepairPause   = 10 * time.Second
	longestRepairPause = time.Hour
	repairsForgotten   = 24 * time.Hour
)

// secretActions sees to it that the Secret holds what the app needs, with a
// client secret that stays valid.
func secretActions(in Input, r Result) Result {
	r.Repairs = in.Secret.Foreign != "" || wasPublished(in) && !in.Secret.Exists
	if hold := contested(in, r); hold != nil {
		r.Hold = firstHold(r.Hold, hold)
		return r
	}
	r.Rotates = rotates(in, r)
	makes := r.Rotates || ownSecret(in, r.Target) && !publishedIsValid(in)
	switch {
	case makes && wasForgotten(in):
		r.Actions = append(append(r.Actions, unneeded(in)...), Action{Kind: GiveBack, ID: in.Secret.SecretID})
	case makes && in.Server.Secrets:
		r.Actions = append(r.Actions, unneeded(in)...)
		r.Actions = append(r.Actions, Action{Kind: MakeSecret})
	case makes:
		r.Actions = append(r.Actions, Action{Kind: ResetSecret})
	case in.Existing != nil && r.Target.HasSecret() && !existingIsGiven(in):
		r.Actions = append(r.Actions, Action{Kind: GiveSecret})
	default:
		r.Actions = append(r.Actions, retirements(in)...)
	}
	if makes || in.Live.Client.ID != in.App.Status.ClientID || in.Secret.Differs != nil && in.Secret.Differs(r.Target) {
		r.Actions = append(r.Actions, Action{Kind: Publish})
	}
	return removeFormer(in, r)
}

// removeFormer comes last: what is published is there before the former goes.
func removeFormer(in Input, r Result) Result {
	if in.Secret.Former != "" {
		r.Actions = append(r.Actions, Action{Kind: RemoveFormer, ID: in.Secret.Former})
	}
	if in.Secret.FormerConfigMap != "" {
		r.Actions = append(r.Actions, Action{Kind: RemoveFormerConfigMap, ID: in.Secret.FormerConfigMap})
	}
	return r
}

// ownSecret tells whether the manager makes the client's secret.
func ownSecret(in Input, c Client) bool {
	return in.App.CredentialsType() == v1alpha1.CredentialsSecret && c.HasSecret()
}

// wasPublished tells whether the Secret was written under its present name.
func wasPublished(in Input) bool {
	if in.Secret.IsConfigMap {
		return in.App.Status.ConfigMap != nil && in.App.Status.ConfigMap.Name == in.Secret.Name
	}
	return in.App.Status.Binding != nil && in.App.Status.Binding.Name == in.Secret.Name
}

// publishedWell tells whether the Secret is as it was written, as far as can be
// seen without the server.
func publishedWell(in Input) bool {
	if in.App.CredentialsType() == v1alpha1.CredentialsExistingSecret && (in.Existing == nil || in.Existing.Version != in.App.Status.ReferencedSecretVersion) {
		return false
	}
	return wasPublished(in) && in.Secret.Exists && in.Secret.Foreign == "" &&
		(in.App.CredentialsType() != v1alpha1.CredentialsSecret || in.Secret.SecretID != "")
}

// publishedIsValid trusts the Secret when the server does not tell.
func publishedIsValid(in Input) bool {
	if in.Secret.SecretID == "" {
		return false
	}
	return !in.Live.Client.SecretsKnown || slices.ContainsFunc(in.Live.Client.Secrets, func(s ClientSecret) bool {
		return s.ID == in.Secret.SecretID && s.ExpiresAt.IsZero()
	})
}

// existingIsGiven tells whether the client was given what the ExistingSecret
// holds, and still has it. What is recorded of another client says nothing of this.
func existingIsGiven(in Input) bool {
	if in.Live.Client.ID != in.App.Status.ClientID || in.Existing.Version != in.App.Status.ReferencedSecretVersion {
		return false
	}
	given := in.App.Status.Secrets
	if !in.Live.Client.SecretsKnown || len(given) == 0 {
		return true
	}
	return slices.ContainsFunc(in.Live.Client.Secrets, func(s ClientSecret) bool { return s.ID == given[len(given)-1].ID })
}

// unneeded are deletions of client secrets before another is made. One that was
// made and not published, because something failed in between, goes; one that
// has been used is left alone, whoever made it. Of those that were published
// and replaced a few stay, rather used ones than unused, and rather younger
// ones.
func unneeded(in Input) []Action {
	var remove []string
	var replaced []ClientSecret
	for _, s := range in.Live.Client.Secrets {
		published := slices.ContainsFunc(in.App.Status.Secrets, func(p v1alpha1.ClientSecretStatus) bool { return p.ID == s.ID })
		switch {
		case published:
			replaced = append(replaced, s)
		case s.LastUsed.IsZero() && s.ExpiresAt.IsZero() && s.ID != in.Secret.SecretID && !slices.Contains(in.Live.Client.Kept, s.ID):
			remove = append(remove, s.ID)
		}
	}
	age := func(s ClientSecret) int {
		return slices.IndexFunc(in.App.Status.Secrets, func(p v1alpha1.ClientSecretStatus) bool { return p.ID == s.ID })
	}
	slices.SortStableFunc(replaced, func(a, b ClientSecret) int {
		if a.LastUsed.IsZero() != b.LastUsed.IsZero() {
			return map[bool]int{true: -1, false: 1}[a.LastUsed.IsZero()]
		}
		return cmp.Compare(age(a), age(b))
	})
	for _, s := range replaced[:max(0, len(replaced)-(maxReplaced-1))] {
		remove = append(remove, s.ID)
	}
	actions := make([]Action, len(remove))
	for i, id := range remove {
		actions[i] = Action{Kind: DeleteSecret, ID: id}
	}
	return actions
}

// contested makes repairs of the Secret rarer when somebody keeps changing it:
// each would make a client secret, and the other one would not give way.
func contested(in Input, r Result) *Hold {
	repairs := in.App.Status.SecretRepairs
	if !r.Repairs || repairs == nil {
		return nil
	}
	next := repairs.LastTime.Add(repairPause(int(repairs.Count)))
	left, since := next.Sub(in.Now), in.Now.Sub(repairs.LastTime.Time)
	if left <= 0 || since >= repairsForgotten || since < 0 { // below zero: the clock was set back
		return nil
	}
	who, what := "somebody", "deletes"
	if in.Secret.Exists {
		who, what = "field manager "+cmp.Or(in.Secret.Foreign, "unknown"), "overwrites"
	}
	return &Hold{
		Condition: v1alpha1.ConditionSecretPublished, Reason: v1alpha1.ReasonSecretContested, After: left,
		Message: fmt.Sprintf("%s %s %s, which was written anew %d times; it is written again after %s: "+
			"take it out of what that one applies, or name another in spec.credentials.secret.name",
			who, what, in.Secret, repairs.Count, next.UTC().Format(time.RFC3339)),
	}
}

// repairPause is the pause after so many repairs: none after the first, which
// may have been a slip.
func repairPause(count int) time.Duration {
	if count < 2 {
		return 0
	}
	return min(firstRepairPause<<min(count-2, 16), longestRepairPause)
}

// Repaired counts one more repair of the Secret at now.
func Repaired(repairs *v1alpha1.SecretRepairs, now time.Time) (count int32) {
	if repairs == nil || now.Sub(repairs.LastTime.Time) >= repairsForgotten {
		return 1
	}
	return min(repairs.Count, 1000) + 1
}
