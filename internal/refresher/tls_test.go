// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// A certificate that is not trusted is told as that, with what to do, and gets
// no secret.
func TestACertificateThatIsNotTrustedHasItsOwnReason(t *testing.T) {
	from, to := time.Now().Add(-2*time.Hour).UTC().Truncate(time.Second), time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	valid := func(*x509.Certificate) {}
	for name, test := range map[string]struct {
		change     func(*x509.Certificate)
		trusted    bool
		text, hint string
	}{
		"of an unknown authority": {
			valid, false, `it is signed by "CN=the test's own", which is none of the authorities to trust`,
			"put the authority's certificate into ca.crt beside the credentials, or name its file by --ca-file",
		},
		"for other hosts": {
			func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"a.example", "b.example"} }, true,
			"it is for a.example, b.example and not for 127.0.0.1",
			"use an address that the certificate is for, by token-url beside the credentials or --token-url",
		},
		"for more hosts than a line holds": {
			func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, strings.Split("a b c d e f g", " ") }, true,
			"it is for a, b, c, d, e, 2 more and not for 127.0.0.1",
			"use an address that the certificate is for, by token-url beside the credentials or --token-url",
		},
		"for no host": {
			func(c *x509.Certificate) { c.IPAddresses = nil }, true, "it is for no host and not for 127.0.0.1",
			"use an address that the certificate is for, by token-url beside the credentials or --token-url",
		},
		"that has ended": {
			func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }, true,
			"it is valid from " + from.Format(time.RFC3339) + " to " + to.Format(time.RFC3339) + ", and not now",
			"renew the certificate of HOST, or set this machine's clock",
		},
		"for another use": {
			func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, true,
			"x509: certificate specifies an incompatible key usage", "renew the certificate of HOST",
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the refused handshake
			certificate, bundle := selfSigned(t, test.change)
			s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
			s.StartTLS()
			defer s.Close()
			host := s.Listener.Addr().String()
			credentials := Credentials{ClientID: "a", ClientSecret: canary, TokenURL: s.URL, AuthMethod: oauth.AuthMethodSecretPost}
			if test.trusted {
				credentials.CABundle = bundle
			}
			_, err := (&EndpointSource{Credentials: staticCredentials(credentials)}).Token(t.Context())
			require.Equal(t, ReasonCertificateInvalid, ReasonOf(err))
			require.EqualError(t, err, "the certificate of the token endpoint at "+host+" is not trusted: "+test.text)
			require.Equal(t, err.Error()+"; "+strings.ReplaceAll(test.hint, "HOST", host), Explain(err))
			require.False(t, asked)
		})
	}
}

// selfSigned makes a certificate of its own for loopback, changed.
func selfSigned(t *testing.T, change func(*x509.Certificate)) (certificate tls.Certificate, bundle []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the test's own"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
