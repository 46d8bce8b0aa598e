// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// validator collects what is wrong with the text of the configuration; what is
// wrong with the files it names is in files.go.
type validator struct {
	config    *Config
	positions positions
	problems  Problems
	warnings  []string
	// readsFiles is false when the files that are named need not exist yet.
	readsFiles bool
}

func (v *validator) addf(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Line: v.positions.line(path), Message: fmt.Sprintf(format, args...)})
}

func (v *validator) warnf(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

func (v *validator) validate() {
	v.publicURL()
	v.listeners()
	v.tls()
	v.storage()
	if len(v.config.EncryptionKeyFiles) == 0 {
		v.addf("encryptionKeyFiles", "is required: at least one file; openssl rand -base64 32 makes its content")
	}
	for i, file := range v.config.EncryptionKeyFiles {
		if file == "" {
			v.addf(fmt.Sprintf("encryptionKeyFiles[%d]", i), "must name a file")
		}
	}
	v.accessTokenLifetime()
	v.maxStale()
	for _, p := range v.config.Tracing.Validate() {
		v.addf("tracing."+p.Field, "%v", p.Err)
	}
	v.trustedProxies()
	v.adminClient()
	v.workloadIssuers()
}

func (v *validator) storage() {
	path, p := v.config.Storage.SQLite.Path, v.config.Storage.PostgreSQL
	switch {
	case p == nil && path == "":
		v.addf("storage.sqlite.path", "is required: the database file, such as /var/lib/tokenserver/tokenserver.db; or give storage.postgresql")
	case p == nil:
	case path != "":
		v.addf("storage.postgresql", "cannot be given together with storage.sqlite: there is one database")
	case p.URLFile == "":
		v.databaseURL("storage.postgresql.url", p.URL)
	case p.URL != "":
		v.addf("storage.postgresql.urlFile", "cannot be given together with storage.postgresql.url: there is one database")
	case v.readsFiles:
		content, err := os.ReadFile(p.URLFile)
		if err != nil {
			v.addf("storage.postgresql.urlFile", "%v", err)
			return
		}
		p.URL = strings.TrimSpace(string(content))
		v.databaseURL("storage.postgresql.urlFile", p.URL)
	}
}

func (v *validator) databaseURL(field, url string) {
	if problem := postgresql.Problem(url); problem != "" {
		v.addf(field, "%s", problem)
	} else if postgresql.Insecure(url) {
		v.warnf("the sslmode of %s lets whoever is in between read or stand in for the database: use verify-full", field)
	}
}

// publicURL allows what an issuer can be made of: clients compare it byte by
// byte, so there is one way to write it.
func (v *validator) publicURL() {
	if strings.Contains(v.config.PublicURL, ownNamespace) {
		if v.readsFiles {
			v.addf("publicURL", "holds %s, and the environment variable %s is not set: in a Pod take it from metadata.namespace, elsewhere write the name",
				ownNamespace, ownNamespaceEnv)
			return
		}
		v.config.PublicURL = strings.ReplaceAll(v.config.PublicURL, ownNamespace, unknownNamespace)
	}
	if problem := PublicURLProblem(v.config.PublicURL); problem != "" {
		v.addf("publicURL", "%s", problem)
	} else if strings.HasPrefix(v.config.PublicURL, "http:") {
		v.warnf("publicURL is plain http: cookies are not marked Secure; use it on this machine only")
	}
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && address.IsLoopback())
}

const minConnections, maxConnections = 10, 100_000

func (v *validator) listeners() {
	v.address("listen", v.config.Listen)
	v.address("operationsListen", v.config.OperationsListen)
	if v.config.Listen == v.config.OperationsListen && !strings.HasSuffix(v.config.Listen, ":0") {
		v.addf("operationsListen", "must differ from listen")
	}
	if n := v.config.MaxConnections; n < minConnections || n > maxConnections {
		v.addf("maxConnections", "must be from %d to %d, not %d", minConnections, maxConnections, n)
	}
}

func (v *validator) address(path, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		v.addf(path, "must be host:port, such as 127.0.0.1:8080 or :8443, not %q", address)
	}
}

func (v *validator) tls() {
	c := v.config
	host, _, _ := net.SplitHostPort(c.Listen)
	switch {
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		v.addf("tlsKeyFile", "tlsCertFile and tlsKeyFile are given together or not at all")
	case c.TLSCertFile != "" && strings.HasPrefix(c.PublicURL, "http://"):
		v.addf("publicURL", "must be https when tlsCertFile is given")
	case c.TLSCertFile == "" && !isLoopback(host):
		v.warnf("listen %s speaks plain HTTP to the network: end TLS right in front of it, or give tlsCertFile and tlsKeyFile", c.Listen)
	}
}

// MaxAccessTokenLifetime is the longest that accessTokenLifetime may be.
const MaxAccessTokenLifetime = 24 * time.Hour

const maxMaxStale = 24 * time.Hour

func (v *validator) accessTokenLifetime() {
	lifetime := v.config.AccessTokenLifetime
	if lifetime < time.Second || lifetime > MaxAccessTokenLifetime || lifetime%time.Second != 0 {
		v.addf("accessTokenLifetime", "must be whole seconds from 1s to 24h, not %s", lifetime)
	}
}

func (v *validator) maxStale() {
	if stale := v.config.MaxStale; stale < 0 || stale > maxMaxStale {
		v.addf("maxStale", "must be from 0s to 24h, not %s", stale)
	}
}

func (v *validator) trustedProxies() {
	for i, text := range v.config.TrustedProxies {
		prefix, err := parsePrefix(text)
		path := fmt.Sprintf("trustedProxies[%d]", i)
		switch {
		case err != nil:
			v.addf(path, "must be an address or a network, such as 10.0.0.7 or 10.0.0.0/8, not %q", text)
		case prefix != prefix.Masked():
			v.addf(path, "has bits beyond its prefix: did you mean %s?", prefix.Masked())
		}
	}
}

func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return address.Prefix(address.BitLen())
	}
	return netip.ParsePrefix(text)
}

// ProxyPrefixes are TrustedProxies parsed; they have been validated.
func (c *Config) ProxyPrefixes() []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range c.TrustedProxies {
		if prefix, err := parsePrefix(text); err == nil {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

func (v *validator) adminClient() {
	c := v.config.Bootstrap.AdminClient
	if c == nil {
		v.warnf("bootstrap.adminClient is not given: nobody can register the first app")
		return
	}
	if !clientIDForm.MatchString(c.ClientID) {
		v.addf("bootstrap.adminClient.clientID", "must be 1 to 64 letters, digits, dots, hyphens or underscores, not %q", c.ClientID)
	}
	if problem := reservedID(c.ClientID); problem != "" {
		v.addf("bootstrap.adminClient.clientID", "%s", problem)
	}
	if c.ClientSecretFile == "" && !c.secretOptional() {
		v.addf("bootstrap.adminClient.clientSecretFile", "is required: the file that holds the client's secret; or give federatedIdentities")
	}
}

// reservedID says that an id is the server's own.
func reservedID(id string) string {
	if token.IsReserved(id) {
		return fmt.Sprintf("%q is a name of the server's own; choose another", id)
	}
	return ""
}
