// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/bootstrap"
	"connectedapps.dev/operator/internal/testenv"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// runnable works in a namespace of the test's own, at a time the test sets.
func runnable(t *testing.T, now *time.Time) *bootstrap.Runnable {
	t.Helper()
	return &bootstrap.Runnable{
		Client: plane.Client, Namespace: plane.Namespace(t, nil), Secrets: true, TLS: true,
		Now: func() time.Time { return *now },
	}
}

func secret(t *testing.T, r *bootstrap.Runnable, name string) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, s))
	return s
}

func bundle(t *testing.T, r *bootstrap.Runnable) *corev1.ConfigMap {
	t.Helper()
	c := &corev1.ConfigMap{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: bootstrap.CAConfigMap}, c))
	return c
}

func leaf(t *testing.T, s *corev1.Secret) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(s.Data[corev1.TLSCertKey])
	require.NotNil(t, block)
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return certificate
}

func TestEverythingIsMadeOnceAndNeverChanged(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))

	keys := secret(t, r, bootstrap.KeysSecret)
	secrets := &corev1.SecretList{}
	require.NoError(t, plane.Client.List(t.Context(), secrets, client.InNamespace(r.Namespace)))
	require.Len(t, secrets.Items, 3, "a key and two certificates: there are no credentials")
	key, err := base64.StdEncoding.DecodeString(string(keys.Data["encryption-key"]))
	require.NoError(t, err)
	require.Len(t, key, 32)

	versions := func() []string {
		list := []string{bundle(t, r).ResourceVersion, record(t, r).ResourceVersion}
		for _, name := range []string{bootstrap.KeysSecret, bootstrap.CASecret, bootstrap.TLSSecret} {
			list = append(list, secret(t, r, name).ResourceVersion)
		}
		return list
	}
	before := versions()
	require.NoError(t, r.Ensure(t.Context()))
	require.Equal(t, before, versions())
}

func TestTheCertificateServesEveryNameAndIsTrusted(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	s := secret(t, r, bootstrap.TLSSecret)
	require.Equal(t, corev1.SecretTypeTLS, s.Type)
	require.Equal(t, bundle(t, r).Data["ca.crt"], string(s.Data["ca.crt"]))

	pair, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(bundle(t, r).Data["ca.crt"])))
	for _, name := range []string{"tokenserver." + r.Namespace + ".svc", "tokenserver." + r.Namespace + ".svc.cluster.local", "localhost", "127.0.0.1"} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}
		response, err := (&http.Client{Transport: transport}).Get(server.URL)
		require.NoError(t, err, name)
		require.NoError(t, response.Body.Close())
		transport.CloseIdleConnections()
	}
}

func TestCertificatesAreRenewedAtTwoThirdsOfTheirLife(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	first, authority := leaf(t, secret(t, r, bootstrap.TLSSecret)), bundle(t, r).Data["ca.crt"]

	now = now.Add(59 * 24 * time.Hour)
	require.NoError(t, r.Ensure(t.Context()))
	require.True(t, first.Equal(leaf(t, secret(t, r, bootstrap.TLSSecret))))
	now = now.Add(2 * 24 * time.Hour)
	require.NoError(t, r.Ensure(t.Context()))
	second := leaf(t, secret(t, r, bootstrap.TLSSecret))
	require.False(t, first.Equal(second))
	require.Equal(t, authority, bundle(t, r).Data["ca.crt"], "the authority lives longer")

	now = now.Add(7 * 365 * 24 * time.Hour)
	require.NoError(t, r.Ensure(t.Context()))
	both := bundle(t, r).Data["ca.crt"]
	require.Contains(t, both, authority, "certificates of the former authority are still trusted")
	require.NotEqual(t, authority, both)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(both)))
	_, err := leaf(t, secret(t, r, bootstrap.TLSSecret)).Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, DNSName: "localhost"})
	require.NoError(t, err)

	now = now.Add(10 * 365 * 24 * time.Hour)
	require.NoError(t, r.Ensure(t.Context()))
	require.NotContains(t, bundle(t, r).Data["ca.crt"], authority, "what has expired is dropped")
}

func TestANewAuthorityIsPublishedADayBeforeItSigns(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	first := bundle(t, r).Data["ca.crt"]
	now = now.Add(61 * day) // the server's certificate is due
	require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.CASecret)))
	before := leaf(t, secret(t, r, bootstrap.TLSSecret))
	require.NoError(t, r.Ensure(t.Context()))
	both := bundle(t, r).Data["ca.crt"]
	require.NotEqual(t, first, both)
	require.Contains(t, both, first, "whoever has the new bundle trusts the old certificate")
	require.True(t, before.Equal(leaf(t, secret(t, r, bootstrap.TLSSecret))), "whoever has the old bundle trusts the server")
	require.Equal(t, both, string(secret(t, r, bootstrap.TLSSecret).Data["ca.crt"]))

	now = now.Add(day)
	require.NoError(t, r.Ensure(t.Context()))
	require.False(t, before.Equal(leaf(t, secret(t, r, bootstrap.TLSSecret))), "now it signs")
	require.Equal(t, both, bundle(t, r).Data["ca.crt"])
}

// Somebody who deletes the authority again and again must not fill the bundle up.
func TestTheBundleStaysSmallAndTrustsTheServer(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	for range 20 {
		require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.CASecret)))
		require.NoError(t, r.Ensure(t.Context()))
	}
	published := []byte(bundle(t, r).Data["ca.crt"])
	require.LessOrEqual(t, strings.Count(string(published), "BEGIN CERTIFICATE"), 10)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(published))
	_, err := leaf(t, secret(t, r, bootstrap.TLSSecret)).Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
	require.NoError(t, err)
}

func TestAClockThatWasWrongIsSurvived(t *testing.T) {
	right := time.Now()
	for name, wrong := range map[string]time.Time{"ahead": right.AddDate(12, 0, 0), "behind": right.AddDate(-12, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			now := wrong
			r := runnable(t, &now)
			require.NoError(t, r.Ensure(t.Context()))
			now = right
			require.NoError(t, r.Ensure(t.Context()))
			roots := x509.NewCertPool()
			require.True(t, roots.AppendCertsFromPEM([]byte(bundle(t, r).Data["ca.crt"])))
			_, err := leaf(t, secret(t, r, bootstrap.TLSSecret)).Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
			require.NoError(t, err)
			before := bundle(t, r).ResourceVersion
			require.NoError(t, r.Ensure(t.Context()))
			require.Equal(t, before, bundle(t, r).ResourceVersion)
		})
	}
}

// An earlier release kept the bundle in the ConfigMap alone.
func TestAnUpgradeKeepsTheBundle(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.CASecret)))
	require.NoError(t, r.Ensure(t.Context()))
	before := bundle(t, r).Data["ca.crt"]
	require.Equal(t, 2, strings.Count(before, "BEGIN CERTIFICATE"))
	edit(t, secret(t, r, bootstrap.CASecret), func(s *corev1.Secret) { delete(s.Data, "ca.crt") })
	require.NoError(t, r.Ensure(t.Context()))
	require.Equal(t, before, bundle(t, r).Data["ca.crt"])
	require.Equal(t, before, string(secret(t, r, bootstrap.CASecret).Data["ca.crt"]))
}

func TestWhatSomebodyDamagedIsMadeGood(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, r *bootstrap.Runnable){
		"the bundle is deleted": func(t *testing.T, r *bootstrap.Runnable) {
			require.NoError(t, plane.Client.Delete(t.Context(), bundle(t, r)))
		},
		"the certificate is deleted": func(t *testing.T, r *bootstrap.Runnable) {
			require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.TLSSecret)))
		},
		"the bundle is emptied": func(t *testing.T, r *bootstrap.Runnable) {
			edit(t, bundle(t, r), func(c *corev1.ConfigMap) { c.Data = nil })
		},
		"another authority is slipped into the bundle": func(t *testing.T, r *bootstrap.Runnable) {
			other := runnable(t, new(time.Now()))
			require.NoError(t, other.Ensure(t.Context()))
			edit(t, bundle(t, r), func(c *corev1.ConfigMap) { c.Data["ca.crt"] += bundle(t, other).Data["ca.crt"] })
		},
		"the bundle is immutable and wrong": func(t *testing.T, r *bootstrap.Runnable) {
			edit(t, bundle(t, r), func(c *corev1.ConfigMap) { c.Data["ca.crt"], c.Immutable = "garbage", new(true) })
		},
		"the certificate is immutable and wrong": func(t *testing.T, r *bootstrap.Runnable) {
			edit(t, secret(t, r, bootstrap.TLSSecret), func(s *corev1.Secret) {
				s.Data[corev1.TLSCertKey], s.Immutable = []byte("garbage"), new(true)
			})
		},
		"the authority is deleted": func(t *testing.T, r *bootstrap.Runnable) {
			require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.CASecret)))
		},
		"the authority and the bundle are deleted": func(t *testing.T, r *bootstrap.Runnable) {
			require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.CASecret)))
			require.NoError(t, plane.Client.Delete(t.Context(), bundle(t, r)))
		},
		"the certificate is another authority's": func(t *testing.T, r *bootstrap.Runnable) {
			other := runnable(t, new(time.Now()))
			require.NoError(t, other.Ensure(t.Context()))
			theirs := secret(t, other, bootstrap.TLSSecret)
			edit(t, secret(t, r, bootstrap.TLSSecret), func(s *corev1.Secret) { s.Data = theirs.Data })
		},
		"the authority is another": func(t *testing.T, r *bootstrap.Runnable) {
			other := runnable(t, new(time.Now()))
			require.NoError(t, other.Ensure(t.Context()))
			theirs := secret(t, other, bootstrap.CASecret)
			edit(t, secret(t, r, bootstrap.CASecret), func(s *corev1.Secret) { s.Data = theirs.Data })
		},
		"the labels are stripped and the certificate is garbage": func(t *testing.T, r *bootstrap.Runnable) {
			edit(t, secret(t, r, bootstrap.TLSSecret), func(s *corev1.Secret) { s.Labels, s.Data[corev1.TLSCertKey] = nil, []byte("garbage") })
		},
		"the certificate is garbage":  damageSecret(bootstrap.TLSSecret, corev1.TLSCertKey),
		"the key is garbage":          damageSecret(bootstrap.TLSSecret, corev1.TLSPrivateKeyKey),
		"the copy of the bundle":      damageSecret(bootstrap.TLSSecret, "ca.crt"),
		"the authority's certificate": damageSecret(bootstrap.CASecret, corev1.TLSCertKey),
		"the authority's key":         damageSecret(bootstrap.CASecret, corev1.TLSPrivateKeyKey),
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			r := runnable(t, &now)
			require.NoError(t, r.Ensure(t.Context()))
			damage(t, r)
			require.NoError(t, r.Ensure(t.Context()))
			s := secret(t, r, bootstrap.TLSSecret)
			_, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
			require.NoError(t, err)
			roots := x509.NewCertPool()
			require.True(t, roots.AppendCertsFromPEM([]byte(bundle(t, r).Data["ca.crt"])))
			_, err = leaf(t, s).Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
			require.NoError(t, err)
			require.Equal(t, bundle(t, r).Data["ca.crt"], string(s.Data["ca.crt"]))
			require.Equal(t, bundle(t, r).Data["ca.crt"], string(secret(t, r, bootstrap.CASecret).Data["ca.crt"]), "nothing else is trusted")
			require.Equal(t, "connectedapps-manager", s.Labels["app.kubernetes.io/managed-by"])
		})
	}
}

func damageSecret(name, key string) func(t *testing.T, r *bootstrap.Runnable) {
	return func(t *testing.T, r *bootstrap.Runnable) {
		t.Helper()
		edit(t, secret(t, r, name), func(s *corev1.Secret) { s.Data[key] = []byte("garbage") })
	}
}

func edit[T client.Object](t *testing.T, o T, change func(T)) {
	t.Helper()
	change(o)
	require.NoError(t, plane.Client.Update(t.Context(), o))
}
