// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	"connectedapps.dev/operator/api/v1alpha1"
)

// wasForgotten tells whether the server does not know the published client secret
// at all, neither as valid nor as about to end: as one does that was restored from
// a backup which is older than the secret. Whoever holds the Secret goes on
// unnoticing when the server gets it back, as the only one. One that was revoked, a
// server refuses. Secrets that a client had before it was adopted are not to end
// for it.
func wasForgotten(in Input) bool {
	hasKept := slices.ContainsFunc(in.Live.Client.Secrets, func(s ClientSecret) bool { return slices.Contains(in.Live.Client.Kept, s.ID) })
	return !hasKept && in.Secret.SecretID != "" && in.Live.Client.SecretsKnown &&
		slices.ContainsFunc(in.App.Status.Secrets, func(p v1alpha1.ClientSecretStatus) bool { return p.ID == in.Secret.SecretID }) &&
		!slices.ContainsFunc(in.Live.Client.Secrets, func(s ClientSecret) bool { return s.ID == in.Secret.SecretID })
}
