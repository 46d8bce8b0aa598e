// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// authority signs the certificates of servers.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	a := authority{}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	require.NoError(t, err)
	a.certificate, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

// file is a caFile.
func (a authority) file(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}), 0o600))
	return path
}

// issue makes the certificate of 127.0.0.1 and its key.
func (a authority) issue(t *testing.T) (certificate, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.certificate, private.Public(), a.key)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// TestTheServerIsVerifiedAsTheURLSays connects to a real server with a real
// certificate, by its name and by another.
func TestTheServerIsVerifiedAsTheURLSays(t *testing.T) {
	right := newAuthority(t)
	certificate, key := right.issue(t)
	server, err := testserver.Start(t.Context(), testserver.Options{Certificate: certificate, Key: key})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Stop()) }()
	require.NoError(t, server.Create(t.Context(), "verified", ""))
	own, other := right.file(t), newAuthority(t).file(t)
	for name, c := range map[string]struct {
		host, mode, ca string
		refused        string // empty: it connects
		encrypted      bool
	}{
		"verify-full, the right authority and name":  {"127.0.0.1", "verify-full", own, "", true},
		"verify-full, another name":                  {"localhost", "verify-full", own, "localhost", true},
		"verify-ca, another name":                    {"localhost", "verify-ca", own, "", true},
		"verify-full, another authority":             {"127.0.0.1", "verify-full", other, "unknown authority", true},
		"verify-ca, another authority":               {"127.0.0.1", "verify-ca", other, "unknown authority", true},
		"verify-full, the authorities of the system": {"127.0.0.1", "verify-full", "", "certificate", true},
		"require, without an authority":              {"localhost", "require", "", "", true},
		"disable":                                    {"127.0.0.1", "disable", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "postgresql://x:"+"y@h/d")
			require.NoError(t, os.WriteFile(o.PasswordFile, []byte(testserver.Password), 0o600))
			o.URL = "postgresql://" + testserver.User + "@" + net.JoinHostPort(c.host, strconv.Itoa(server.Port)) + "/verified?sslmode=" + c.mode
			o.CAFile = c.ca
			store, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
			if c.refused != "" {
				var refused *postgresql.RefusedError
				require.ErrorAs(t, err, &refused)
				require.ErrorIs(t, err, storage.ErrUnavailable)
				require.ErrorContains(t, err, c.refused)
				return
			}
			require.NoError(t, err)
			defer func() { require.NoError(t, store.Close()) }()
			conn, err := server.Connect(t.Context(), "verified")
			require.NoError(t, err)
			defer func() { _ = conn.Close(t.Context()) }()
			var encrypted bool
			require.NoError(t, conn.QueryRow(t.Context(),
				`SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tokenserver'`).Scan(&encrypted))
			require.Equal(t, c.encrypted, encrypted)
		})
	}
}

func TestAServerWithoutTLSIsToldFromOneThatIsAway(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, "")
	o := options(t, server.URL(database))
	o.URL = "postgresql://" + testserver.User + "@127.0.0.1:" + strconv.Itoa(server.Port) + "/" + database + "?sslmode=require"
	_, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
	var refused *postgresql.RefusedError
	require.ErrorAs(t, err, &refused, "waiting does not mend it")
	require.True(t, refused.NoTLS)
	require.ErrorContains(t, err, ": the server does not speak TLS")
}

// TestARefusalSaysItsReasonAndNothingElse: the server is local, so that TLS was tried
// first, and its refusal is not the reason.
func TestARefusalSaysItsReasonAndNothingElse(t *testing.T) {
	server := testserver.Shared(t)
	database, _ := server.Database(t, "")
	own := "127.0.0.1:" + strconv.Itoa(server.Port)
	for name, c := range map[string]struct{ url, password, reason string }{
		"a wrong password":   {"postgresql://" + testserver.User + "@" + own + "/" + database, "wrong", `FATAL: password authentication failed for user "` + testserver.User + `"`},
		"an unknown user":    {"postgresql://nobody@" + own + "/" + database, testserver.Password, `FATAL: password authentication failed for user "nobody"`},
		"no such database":   {"postgresql://" + testserver.User + "@" + own + "/missing", testserver.Password, `FATAL: database "missing" does not exist`},
		"no right to tables": {"postgresql://" + testserver.User + "@" + own + "/postgres", testserver.Password, "ERROR: permission denied for schema public"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "postgresql://x:y@h/d")
			o.URL = c.url
			require.NoError(t, os.WriteFile(o.PasswordFile, []byte(c.password), 0o600))
			_, err := postgresql.Open(t.Context(), o, storagetest.Epoch)
			var refused *postgresql.RefusedError
			require.ErrorAs(t, err, &refused)
			require.False(t, refused.NoTLS)
			require.ErrorContains(t, err, " at "+own+": "+c.reason)
			require.NotContains(t, err.Error(), "TLS")
			require.NotContains(t, err.Error(), "does not answer", "it does")
		})
	}
}
