// SPDX-License-Identifier: Apache-2.0

package plan

import "slices"

// wasForgotten tells whether the server does not know the published client secret
// at all, neither as valid nor as about to end: as one does that was restored from
// a backup which is older than the secret. Whoever holds the Secret goes on
// unnoticing when the server gets it back, as the only one. One that was revoked, a
// server refuses; one that has ended because the rotation that replaced it was cut
// off has a younger one beside it. Secrets that a client had before it was adopted
// are not to end for it. One that somebody asks to be replaced may be known to
// others, and revoked for that.
func wasForgotten(in Input) bool {
	published := record(in.App, in.Secret.SecretID)
	if in.Secret.SecretID == "" || published == nil || !in.Live.Client.SecretsKnown || isRequested(in.App) {
		return false
	}
	return !slices.ContainsFunc(in.Live.Client.Secrets, func(s ClientSecret) bool {
		isYounger := published.CreatedAt != nil && s.CreatedAt.After(published.CreatedAt.Time)
		return s.ID == in.Secret.SecretID || isYounger || slices.Contains(in.Live.Client.Kept, s.ID)
	})
}
