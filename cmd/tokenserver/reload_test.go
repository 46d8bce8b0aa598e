// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (r *server) metric(name string) string {
	response, err := http.Get("http://" + r.operations + "/metrics")
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	content, _ := io.ReadAll(response.Body)
	var lines []string
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, name) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// value is that of a series; 0 when there is none.
func (r *server) value(series string) float64 {
	value, _ := strconv.ParseFloat(strings.TrimPrefix(r.metric(series+" "), series+" "), 64)
	return value
}

func (r *server) organization() string {
	_, token := r.token(canary)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.public+"/accounts/api/organizations/"+orgID, nil)
	require.NoError(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	var body struct{ Name string }
	_ = json.NewDecoder(response.Body).Decode(&body)
	return body.Name
}

func TestAnEditOfTheConfigurationIsTakenOver(t *testing.T) {
	r := newSite(t).start().ready()
	require.Equal(t, "Main", r.organization())

	r.edit("name: Main", "name: Head Office")
	r.eventually("the new name", func() bool { return r.organization() == "Head Office" })

	r.edit("name: Head Office", "name: ''")
	failed := `tokenserver_config_reload_failed{files="configuration"} 1`
	r.eventually("the metric tells", func() bool { return strings.Contains(r.metric("tokenserver_config_reload_failed"), failed) })
	require.Equal(t, "Head Office", r.organization(), "a bad edit keeps what was there")
	require.Contains(t, r.log.String(), "organizations[0].name: is required")
	require.Contains(t, r.log.String(), "level=ERROR")

	r.edit("name: ''", "name: Third")
	r.edit("publicURL:", "accessTokenLifetime: 2h\npublicURL:")
	r.eventually("the third name", func() bool { return r.organization() == "Third" })
	require.Contains(t, r.log.String(), `msg="these settings take effect after a restart" settings=accessTokenLifetime`)
	r.eventually("the metric is back", func() bool { return !strings.Contains(r.metric("tokenserver_config_reload_failed"), failed) })
}

// An administrator's client has made an app whose id the file wants afterwards.
func TestAnAppThatCannotBeTakenOverHoldsUpNoUser(t *testing.T) {
	r := newSite(t).start().ready()
	const taken = "0123456789abcdef0123456789abcdef"
	status, _ := r.manage(http.MethodPost, "", `{"client_id":"`+taken+`","client_secret":"cas_0123456789abcdef","client_name":"theirs",
		"grant_types":["client_credentials"]}`)
	require.Equal(t, http.StatusCreated, status)
	r.write("job-secret", "cas_job0123456789\n")
	r.edit("name: Main", "name: Head Office")
	r.edit("organizations:", strings.Replace(jobs, "clientID: job", "clientID: "+taken, 1)+"organizations:")
	r.eventually("said", func() bool { return strings.Contains(r.log.String(), "the client id belongs to another app") })
	r.eventually("the organizations and users of the file", func() bool { return r.organization() == "Head Office" })
	r.eventually("the other app", func() bool { status, _ := r.manage(http.MethodGet, "/web", ""); return status == http.StatusOK })
	_, app := r.manage(http.MethodGet, "/"+taken, "")
	require.Equal(t, "theirs", app["client_name"])
	require.Contains(t, r.metric("tokenserver_config_reload_failed"), `files="configuration"} 1`)
}

func TestAChangedSecretReplacesTheOldOne(t *testing.T) {
	r := newSite(t).start().ready()
	const next = "cas_next0123456789abcdefghijklmnopqrstuvwxyz"
	r.write("client-secret", next)
	r.eventually("the new secret is accepted", func() bool {
		status, _ := r.token(next)
		return status == http.StatusOK
	})
	status, _ := r.token(canary)
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, r.log.String(), next)

	r.write("client-secret", "short")
	r.eventually("said", func() bool { return strings.Contains(r.log.String(), "must hold one line of 16 to 512") })
	status, _ = r.token(next)
	require.Equal(t, http.StatusOK, status, "a bad file keeps the secret")
}

func (s *site) certificate() *x509.CertPool {
	s.t.Helper()
	return s.certificateUntil(time.Now().Add(time.Hour))
}

func (s *site) certificateUntil(end time.Time) *x509.CertPool {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(s.t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: end, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(s.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(s.t, err)
	s.write("tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return pool
}

func (r *server) httpsProto(config *tls.Config) string {
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + r.public + "/accounts/api/v2/oauth2/jwks")
	if err != nil {
		return err.Error()
	}
	_ = response.Body.Close()
	return response.Proto
}

func TestTLSIsServedAndItsCertificateRenewed(t *testing.T) {
	s := newSite(t)
	first := s.certificate()
	s.edit("publicURL: http:", "tlsCertFile: tls.crt\ntlsKeyFile: tls.key\npublicURL: https:")
	r := s.start().ready()
	require.Equal(t, "HTTP/1.1", r.httpsProto(&tls.Config{RootCAs: first}))
	require.Contains(t, r.httpsProto(&tls.Config{RootCAs: first, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), "protocol version")

	expires := func() float64 { return r.value("tokenserver_certificate_expiration_timestamp_seconds") }
	before := expires()
	require.InDelta(t, float64(time.Now().Add(time.Hour).Unix()), before, 300)

	second := s.certificateUntil(time.Now().Add(2 * time.Hour))
	r.eventually("the new certificate", func() bool { return r.httpsProto(&tls.Config{RootCAs: second}) == "HTTP/1.1" })

	require.InDelta(t, before+3600, expires(), 300)

	s.write("tls.crt", "half a certificate")
	r.eventually("said", func() bool { return strings.Contains(r.log.String(), "loading the certificate") })
	require.Equal(t, "HTTP/1.1", r.httpsProto(&tls.Config{RootCAs: second}), "a bad file keeps the certificate")
}
