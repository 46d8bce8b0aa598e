// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv/controlplane"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestKubernetesTakesAnIDToken lets kube-apiserver authenticate a user by an id
// token of ours, through its structured authentication configuration.
func TestKubernetesTakesAnIDToken(t *testing.T) {
	i := serve(t, tokenservertest.WithTLS())
	app := register(t, i, webApp)
	config := startAPIServer(t, i, app.ClientID)

	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: config.Host, BearerToken: idToken(t, i, app), TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData},
	})
	require.NoError(t, err)
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, "connectedapps:ulf", review.Status.UserInfo.Username)
}

func startAPIServer(t *testing.T, i *tokenservertest.Instance, audience string) *rest.Config {
	t.Helper()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.HTTP.Certificate().Raw})
	authentication, err := yaml.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer": map[string]any{
				"url": i.URL + oauth.IssuerPath, "audiences": []string{audience}, "certificateAuthority": string(certificate),
			},
			"claimMappings": map[string]any{"username": map[string]any{"claim": "preferred_username", "prefix": "connectedapps:"}},
		}},
	})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	require.NoError(t, os.WriteFile(file, authentication, 0o600))

	environment := &envtest.Environment{}
	environment.ControlPlane.GetAPIServer().Configure().Set("authentication-config", file)
	stop, err := controlplane.Start(environment)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	return environment.Config
}

// idToken signs a person in and returns the id token of the code grant.
func idToken(t *testing.T, i *tokenservertest.Instance, app oauth.ConnectedApp) string {
	t.Helper()
	ctx := withClient(t, i)
	provider, err := oidc.NewProvider(ctx, i.URL+oauth.IssuerPath)
	require.NoError(t, err)
	config := oauth2.Config{
		ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: redirectURI,
		Scopes: []string{oidc.ScopeOpenID, "profile"},
	}
	landed, err := url.Parse(newPerson(t, i).Authorize(config.AuthCodeURL("state")))
	require.NoError(t, err)
	tokens, err := config.Exchange(ctx, landed.Query().Get("code"))
	require.NoError(t, err)
	raw, _ := tokens.Extra("id_token").(string)
	return raw
}
