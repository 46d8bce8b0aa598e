// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

// TestTwoIssuersThatAreLearned differ, as far as the text alone tells.
func TestTwoIssuersThatAreLearned(t *testing.T) {
	const two = `workloadIssuers:
- {name: one, discovery: {url: "https://10.0.0.1", tokenFile: one}}
- {name: two, tokenReview: {url: "https://10.0.0.2", tokenFile: two}}
`
	path := folder(t, valid+two)
	_, err := tokenserveroptions.LoadText(path)
	require.NoError(t, err)

	token := func(file, issuer string) {
		write(t, filepath.Dir(path), file, serviceAccountToken(t, issuer, "system:serviceaccount:s:tokenserver"))
	}
	token("one", "https://one.example")
	token("two", "https://two.example")
	_, err = tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	token("two", "https://one.example")
	_, err = tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.ErrorContains(t, err, "workloadIssuers[1].audience: workloadIssuers[0] has the same issuer and the same audience")
}

// TestAServiceAccountOfAnotherIssuer is no administrator: the token in tokenFile
// tells a namespace of the cluster that made it, and of no other.
func TestAServiceAccountOfAnotherIssuer(t *testing.T) {
	path := inClusterFolder(t, "{clientID: a, federatedIdentities: [{issuerName: cluster, serviceAccount: manager}]}",
		"workloadIssuers: [{name: cluster, issuer: 'https://c.example', discovery: {tokenFile: token}}]\n")
	for issuer, says := range map[string]string{
		"https://c.example": "",
		"https://d.example": `bootstrap.adminClient.federatedIdentities[0]: the namespace that this server runs in is not known: ` +
			`the token in tokenFile of workloadIssuers[0] is of the issuer "https://d.example", not "https://c.example"`,
	} {
		write(t, filepath.Dir(path), "token", serviceAccountToken(t, issuer, "system:serviceaccount:s:tokenserver"))
		_, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
		if says == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, says)
		}
	}
}
