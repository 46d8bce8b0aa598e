// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/bootstrap"
)

// certificate is a self-signed one that somebody else made.
func certificate(t *testing.T, authority bool, until time.Time) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "theirs"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IsCA: authority, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func TestWhatSomebodyBroughtIsUsedAndNeverChanged(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	theirs := map[string]map[string][]byte{
		bootstrap.KeysSecret: {"encryption-key": encryptionKey(7)},
		bootstrap.CASecret:   certificate(t, true, now.Add(time.Hour)), // due, but theirs to renew
		bootstrap.TLSSecret:  certificate(t, false, now.Add(time.Hour)),
	}
	versions := map[string]string{}
	for name, data := range theirs {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, Data: data}
		plane.Create(t, s)
		versions[name] = s.ResourceVersion
	}
	require.NoError(t, r.Ensure(t.Context()))
	for name, version := range versions {
		require.Equal(t, version, secret(t, r, name).ResourceVersion, name)
	}
	require.Equal(t, string(theirs[bootstrap.CASecret][corev1.TLSCertKey]), bundle(t, r).Data["ca.crt"], "their authority is published")
}

func TestTheCertificateIsSignedByTheAuthorityThatSomebodyBrought(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	own := bundle(t, r).Data["ca.crt"]
	require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.CASecret)))
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: bootstrap.CASecret}, Data: certificate(t, true, now.Add(24*time.Hour)),
	})
	require.NoError(t, r.Ensure(t.Context()))
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(secret(t, r, bootstrap.CASecret).Data[corev1.TLSCertKey]))
	_, err := leaf(t, secret(t, r, bootstrap.TLSSecret)).Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
	require.NoError(t, err)
	require.Contains(t, bundle(t, r).Data["ca.crt"], own, "servers may have the former certificate in memory")
}

// As kubectl replace does, with a manifest that has no label.
func TestACertificateThatReplacesOursWithoutItsLabelIsTheirs(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	s := secret(t, r, bootstrap.TLSSecret)
	s.Labels, s.Data = nil, certificate(t, false, now.Add(time.Hour))
	require.NoError(t, plane.Client.Update(t.Context(), s, client.FieldOwner("kubectl-replace")))
	require.NoError(t, r.Ensure(t.Context()))
	require.Equal(t, s.ResourceVersion, secret(t, r, bootstrap.TLSSecret).ResourceVersion)
}

func TestWhatSomebodyBroughtAndCannotBeUsedIsTold(t *testing.T) {
	now := time.Now()
	for name, row := range map[string]struct {
		secret string
		data   map[string][]byte
		says   string
	}{
		"keys without a key": {
			bootstrap.KeysSecret, map[string][]byte{"other": []byte("theirs")},
			"Secret tokenserver-keys in namespace NS has no key encryption-key, and somebody else made it: add the key (openssl rand -base64 32)",
		},
		"a key that is none": {
			bootstrap.KeysSecret, map[string][]byte{"encryption-key": []byte("theirs")},
			"Secret tokenserver-keys in namespace NS: the key encryption-key is not base64 of 32 bytes",
		},
		"an authority without a certificate": {
			bootstrap.CASecret, map[string][]byte{"tls.key": []byte("theirs")},
			"Secret tokenserver-ca in namespace NS holds no valid certificate authority with an ECDSA key in tls.crt and tls.key, and somebody else made it",
		},
		"an authority that is none": {
			bootstrap.CASecret, certificate(t, false, now.Add(time.Hour)),
			"Secret tokenserver-ca in namespace NS holds no valid certificate authority",
		},
		"an authority that has expired": {
			bootstrap.CASecret, certificate(t, true, now.Add(-time.Hour)),
			"Secret tokenserver-ca in namespace NS holds no valid certificate authority",
		},
		"a certificate that is none": {
			bootstrap.TLSSecret, map[string][]byte{"tls.key": []byte("theirs")},
			"Secret tokenserver-tls in namespace NS holds no certificate with its key in tls.crt and tls.key, and somebody else made it",
		},
		"a certificate that has expired": {
			bootstrap.TLSSecret, certificate(t, false, now.Add(-time.Hour)),
			"Secret tokenserver-tls in namespace NS: the certificate in tls.crt expired at " + now.Add(-time.Hour).UTC().Format(time.RFC3339),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runnable(t, &now)
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: row.secret}, Data: row.data}
			plane.Create(t, s)
			err := r.Ensure(t.Context())
			require.ErrorContains(t, err, strings.ReplaceAll(row.says, "NS", r.Namespace))
			require.NotContains(t, err.Error(), "theirs")
			require.Equal(t, err.Error(), r.Trouble())
			require.Equal(t, s.ResourceVersion, secret(t, r, row.secret).ResourceVersion)
			if row.secret != bootstrap.KeysSecret {
				secret(t, r, bootstrap.KeysSecret) // the rest was made all the same
			} else {
				secret(t, r, bootstrap.TLSSecret)
			}
			require.NoError(t, plane.Client.Delete(t.Context(), s))
			require.NoError(t, r.Ensure(t.Context()), "as the message says")
			require.Empty(t, r.Trouble())
		})
	}
}

func TestABundleOfSomebodyElseThatDoesNotTrustTheServerIsTold(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	theirs := string(certificate(t, true, now.Add(time.Hour))[corev1.TLSCertKey])
	plane.Create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: bootstrap.CAConfigMap}, Data: map[string]string{"ca.crt": theirs},
	})
	require.ErrorContains(t, r.Ensure(t.Context()), "ConfigMap tokenserver-ca in namespace "+r.Namespace+" does not trust the authority of Secret tokenserver-ca")
	require.Equal(t, theirs, bundle(t, r).Data["ca.crt"])
	edit(t, bundle(t, r), func(c *corev1.ConfigMap) {
		c.Data["ca.crt"] += string(secret(t, r, bootstrap.CASecret).Data[corev1.TLSCertKey])
	})
	require.NoError(t, r.Ensure(t.Context()), "as the message says")
	secret(t, r, bootstrap.TLSSecret)
}

func TestStrippedLabelsComeBack(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	for _, name := range []string{bootstrap.KeysSecret, bootstrap.CASecret, bootstrap.TLSSecret} {
		before := secret(t, r, name)
		edit(t, before.DeepCopy(), func(s *corev1.Secret) { s.Labels = map[string]string{"of": "somebody"} })
		require.NoError(t, restarted(r).Ensure(t.Context()))
		after := secret(t, r, name)
		require.Equal(t, "connectedapps-manager", after.Labels["app.kubernetes.io/managed-by"], name)
		require.Equal(t, before.Labels["connectedapps.dev/secret"], after.Labels["connectedapps.dev/secret"], name)
		require.Equal(t, "somebody", after.Labels["of"], name)
		require.Equal(t, before.Data, after.Data, name)
	}
}
