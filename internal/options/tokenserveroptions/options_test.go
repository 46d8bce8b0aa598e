// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tracing"
)

const (
	rootID  = "0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36"
	ownerID = "7d2f9b14-3c5a-4e86-b1d0-9f8e6a4c2b75"
	secret  = "cas_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
)

// valid is a configuration without a problem and without a warning.
const valid = `publicURL: https://id.example.com
storage: {sqlite: {path: tokenserver.db}}
encryptionKeyFiles: [encryption-key]
bootstrap: {adminClient: {clientID: connectedapps-manager, clientSecretFile: client-secret}}
organizations:
- id: ` + rootID + `
  name: Main
  ownerID: ` + ownerID + `
users:
- id: ` + ownerID + `
  organizationID: ` + rootID + `
  username: owner
`

// folder writes a configuration and the files it names.
func folder(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	write(t, dir, "client-secret", secret+"\n")
	return write(t, dir, "config.yaml", config)
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestAMinimalFileTakesTheDefaults(t *testing.T) {
	path := folder(t, valid)
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	c := loaded.Config
	require.Empty(t, loaded.Warnings)
	require.Equal(t, "127.0.0.1:8080", c.Listen)
	require.Equal(t, "127.0.0.1:8081", c.OperationsListen)
	require.Equal(t, time.Hour, c.AccessTokenLifetime)
	require.Equal(t, 15*time.Minute, c.MaxStale)
	require.Equal(t, tracing.Options{SampleRatio: 1}, c.Tracing)
	require.True(t, c.LoginEndpoint)
	require.False(t, c.RecoverableSecrets)
	require.Equal(t, filepath.Join(filepath.Dir(path), "tokenserver.db"), c.Storage.SQLite.Path, "relative to the file's folder")
	require.Equal(t, []string{
		filepath.Join(filepath.Dir(path), "encryption-key"), filepath.Join(filepath.Dir(path), "client-secret"),
	}, c.Files())
	got, err := c.Bootstrap.AdminClient.Secrets()
	require.NoError(t, err)
	require.Equal(t, []string{secret}, got)
	owner, ok := loaded.Directory.UserByName(rootID, "OWNER")
	require.True(t, ok)
	require.True(t, owner.Enabled)
	require.Equal(t, "mulesoft", owner.IDProviderID)
}

func TestEveryProblemIsReportedAtOnceWithItsLine(t *testing.T) {
	path := folder(t, `publicURL: http://id.example.com/base
listen: "8080"
accessTokenLifetime: soon
recoverableSecrets: "no"
storage: tokenserver.db
encryptionKeyFile: encryption-key
loginEndpoint: true
loginEndpoint: false
organizations:
- id: MAIN
  name: Main
  environments:
  - id: `+rootID+`
    name: [Sandbox]
    type: staging
users:
- id: `+ownerID+`
  username: 12
`)
	_, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.EqualError(t, err, strings.TrimSpace(`
14 problems
  encryptionKeyFiles: is required: at least one file; openssl rand -base64 32 makes its content
  line 1: publicURL: must be scheme, host and port only, without a final slash, path, query or fragment
  line 2: listen: must be host:port, such as 127.0.0.1:8080 or :8443, not "8080"
  line 3: accessTokenLifetime: must be a duration such as 15m or 1h30m, not "soon"
  line 4: recoverableSecrets: must be true or false, not "no"
  line 5: storage: must be an object of fields (sqlite, postgresql), not "tokenserver.db"
  line 6: encryptionKeyFile: unknown field; did you mean encryptionKeyFiles?
  line 8: loginEndpoint: is already given in line 7
  line 10: organizations[0].id: must be a UUID in lower case, not "MAIN"
  line 10: organizations[0].ownerID: is required: the id of the user who owns the organization
  line 14: organizations[0].environments[0].name: must be a string, not a list
  line 15: organizations[0].environments[0].type: must be design, sandbox or production, not "staging"
  line 17: users[0].organizationID: is required: the id of the organization the user belongs to
  line 18: users[0].username: must be a string, not the number 12: put it in quotes
`))
}

func TestEachProblemNamesItsPath(t *testing.T) {
	replace := func(old, replacement string) string {
		if !strings.Contains(valid, old) {
			panic("no such text: " + old)
		}
		return strings.Replace(valid, old, replacement, 1)
	}
	secondOrg := "- {id: 11111111-1111-4111-8111-111111111111, name: B, ownerID: " + ownerID + ", parentID: %}\nusers:"
	secondUser := func(fields string) string { return valid + "- {organizationID: " + rootID + ", " + fields + "}\n" }
	for name, test := range map[string]struct{ config, want string }{
		"an empty file":                    {"", "the file is empty"},
		"comments alone":                   {"# nothing\n", "the file is empty"},
		"a syntax error":                   {"publicURL: [\n", "is not YAML"},
		"two documents":                    {valid + "---\na: b\n", "must hold one YAML document"},
		"a list for the whole":             {"[]", "line 1: must be an object of fields (publicURL"},
		"no publicURL":                     {replace("publicURL: https://id.example.com\n", ""), "publicURL: is required"},
		"a publicURL without scheme":       {replace("https://id.example.com", "id.example.com"), "line 1: publicURL: must be an https URL"},
		"a publicURL with a slash":         {replace("id.example.com", "id.example.com/"), "publicURL: must be scheme, host and port only"},
		"a publicURL with a query":         {replace("id.example.com", "id.example.com?"), "publicURL: must be scheme, host and port only"},
		"a publicURL with a fragment":      {replace("https://id.example.com", "'https://id.example.com#'"), "publicURL: must be scheme, host and port only"},
		"a publicURL with a user":          {replace("id.example.com", "me@id.example.com"), "publicURL: must not hold a user name"},
		"a publicURL in capitals":          {replace("id.example.com", "ID.example.com"), "publicURL: must be written https://id.example.com, as clients do"},
		"http beyond loopback":             {replace("https://", "http://"), "publicURL: must be https"},
		"http in front of our TLS":         {replace("https://id.example.com", "http://localhost\ntlsCertFile: c\ntlsKeyFile: k"), "publicURL: must be https when tlsCertFile is given"},
		"a certificate without key":        {valid + "tlsCertFile: tls.crt\n", "tlsKeyFile: tlsCertFile and tlsKeyFile are given together"},
		"a missing certificate":            {valid + "tlsCertFile: tls.crt\ntlsKeyFile: tls.key\n", "tlsCertFile: loading certificate and key: open"},
		"a port out of range":              {valid + "listen: :99999\n", "listen: must be host:port"},
		"one address for both":             {valid + "operationsListen: 127.0.0.1:8080\n", "operationsListen: must differ from listen"},
		"two databases":                    {replace("{sqlite: {path: tokenserver.db}}", "{sqlite: {path: a}, postgresql: {url: \"postgresql://u@h/d\"}}"), "storage.postgresql: cannot be given together with storage.sqlite"},
		"a password in the URL":            {replace("{sqlite: {path: tokenserver.db}}", "{postgresql: {url: \"postgresql://u:hush@h/d\"}}"), "storage.postgresql.url: must not hold a password"},
		"a database URL twice":             {replace("{sqlite: {path: tokenserver.db}}", "{postgresql: {url: \"postgresql://u@h/d\", urlFile: client-secret}}"), "storage.postgresql.urlFile: cannot be given together with storage.postgresql.url"},
		"no file of the database URL":      {replace("{sqlite: {path: tokenserver.db}}", "{postgresql: {urlFile: none}}"), "storage.postgresql.urlFile: open"},
		"no URL in its file":               {replace("{sqlite: {path: tokenserver.db}}", "{postgresql: {urlFile: client-secret}}"), "storage.postgresql.urlFile: must begin with postgresql://"},
		"no database":                      {replace("path: tokenserver.db", ""), "line 2: storage.sqlite.path: is required"},
		"no encryption keys":               {replace("[encryption-key]", "[]"), "encryptionKeyFiles: is required"},
		"a missing encryption key":         {replace("[encryption-key]", "[other]"), "encryptionKeyFiles[0]: reading encryption key: stat"},
		"an encryption key too short":      {replace("[encryption-key]", "[client-secret]"), "must hold base64 of 32 bytes"},
		"a lifetime of half seconds":       {valid + "accessTokenLifetime: 1500ms\n", "accessTokenLifetime: must be whole seconds"},
		"a lifetime of days":               {valid + "accessTokenLifetime: 48h\n", "accessTokenLifetime: must be whole seconds from 1s to 24h, not 48h0m0s"},
		"a number for a duration":          {valid + "accessTokenLifetime: 15\n", "accessTokenLifetime: must be a duration such as 15m or 1h30m, not the number 15"},
		"a proxy name":                     {valid + "trustedProxies: [proxy]\n", "trustedProxies[0]: must be an address or a network"},
		"a network with host bits":         {valid + "trustedProxies: [10.0.0.7/8]\n", "trustedProxies[0]: has bits beyond its prefix: did you mean 10.0.0.0/8?"},
		"a client id with a space":         {replace("connectedapps-manager", "'the manager'"), "bootstrap.adminClient.clientID: must be 1 to 64 letters"},
		"the id of sign-in tokens":         {replace("connectedapps-manager", "login"), `bootstrap.adminClient.clientID: "login" is a name of the server's own`},
		"the id of a user for a client":    {replace("connectedapps-manager", ownerID), `bootstrap.adminClient.clientID: "` + ownerID + `" is already used at users[0].id`},
		"a stale time of days":             {valid + "maxStale: 48h\n", "maxStale: must be from 0s to 24h, not 48h0m0s"},
		"too few connections":              {valid + "maxConnections: 9\n", "maxConnections: must be from 10 to 100000, not 9"},
		"connections in words":             {valid + "maxConnections: many\n", `maxConnections: must be a whole number, not "many"`},
		"connections and a half":           {valid + "maxConnections: 99.5\n", "maxConnections: must be a whole number, not the number 99.5"},
		"connections beyond any number":    {valid + "maxConnections: 99999999999999999999\n", "maxConnections: must be a whole number, not the number 9999"},
		"too many connections":             {valid + "maxConnections: 100001\n", "maxConnections: must be from 10 to 100000, not 100001"},
		"a stale time below zero":          {valid + "maxStale: -1s\n", "maxStale: must be from 0s to 24h"},
		"assertions of unknown providers":  {replace("  name: Main\n", "  name: Main\n  identityProviders: [{id: a}]\n  assertions: {identityProviders: [a, b]}\n"), `organizations[0].assertions.identityProviders[1]: the organization has no identity provider "b"`},
		"a missing secret file":            {replace("clientSecretFile: client-secret", "clientSecretFile: other"), "bootstrap.adminClient.clientSecretFile: open"},
		"a field of an object misspelt":    {replace("ownerID", "owner_id"), "organizations[0].owner_id: unknown field; did you mean ownerID?"},
		"an unknown field":                 {valid + "colour: blue\n", "line 13: colour: unknown field; there are publicURL, listen"},
		"an organization without owner":    {replace("  ownerID: "+ownerID+"\n", ""), "line 6: organizations[0].ownerID: is required"},
		"an owner who is not there":        {replace("ownerID: "+ownerID, "ownerID: "+rootID), "organizations[0].ownerID: no user has the id " + rootID},
		"an id in capitals":                {replace("- id: "+rootID, "- id: "+strings.ToUpper(rootID)), "organizations[0].id: must be a UUID in lower case"},
		"an id used twice":                 {strings.ReplaceAll(valid, ownerID, rootID), "users[0].id: is already used at organizations[0].id"},
		"a user of no organization":        {replace("organizationID: "+rootID, "organizationID: "+ownerID), "users[0].organizationID: no organization has the id"},
		"a user name in another case":      {secondUser("id: 22222222-2222-4222-8222-222222222222, username: OWNER"), `users[1].username: "OWNER" is already used at users[0].username`},
		"an unknown role":                  {secondUser("id: 22222222-2222-4222-8222-222222222222, username: b, roles: [admin]"), `users[1].roles[0]: unknown role "admin": the only one is organization_administrator`},
		"a missing password hash":          {secondUser("id: 22222222-2222-4222-8222-222222222222, username: b, passwordHashFile: b.hash"), "users[1].passwordHashFile: open"},
		"a password in place of its hash":  {secondUser("id: 22222222-2222-4222-8222-222222222222, username: b, passwordHashFile: client-secret"), "must hold what `tokenserver user hash` prints"},
		"a time without zone":              {secondUser("id: 22222222-2222-4222-8222-222222222222, username: b, createdAt: 2026-01-01"), "users[1].createdAt: must be a time such as"},
		"a parent that is not there":       {replace("users:", strings.Replace(secondOrg, "%", "22222222-2222-4222-8222-222222222222", 1)), "organizations[1].parentID: no organization has the id"},
		"an organization above itself":     {replace("users:", strings.Replace(secondOrg, "%", "11111111-1111-4111-8111-111111111111", 1)), "organizations[1].parentID: leads back to the organization itself"},
		"a parent of the first":            {replace("  name: Main\n", "  name: Main\n  parentID: "+rootID+"\n"), "organizations[0].parentID: the first organization is the root"},
		"an environment of unknown type":   {replace("  name: Main\n", "  name: Main\n  environments: [{id: 33333333-3333-4333-8333-333333333333, name: S, type: staging}]\n"), `organizations[0].environments[0].type: must be design, sandbox or production, not "staging"`},
		"the local provider as another":    {replace("  name: Main\n", "  name: Main\n  identityProviders: [{id: mulesoft}]\n"), "organizations[0].identityProviders[0].id: \"mulesoft\" is the server's own user directory"},
		"an identity provider given twice": {replace("  name: Main\n", "  name: Main\n  identityProviders: [{id: a}, {id: a}]\n"), "organizations[0].identityProviders[1].id: is already used at organizations[0].identityProviders[0].id"},
		"a control character in a name":    {replace("name: Main", `name: "Ma\nin"`), "organizations[0].name: contains a control character (U+000A)"},
		"a name too long":                  {replace("name: Main", "name: "+strings.Repeat("x", 256)), "organizations[0].name: must not be longer than 255 bytes"},
		"a number for a name":              {replace("name: Main", "name: 12"), "organizations[0].name: must be a string, not the number 12: put it in quotes"},
		"a collector without scheme":       {valid + "tracing: {endpoint: \"collector:4318\"}\n", "tracing.endpoint: must be the URL of a collector"},
		"a share of more than all":         {valid + "tracing: {endpoint: \"http://collector\", sampleRatio: 2}\n", "tracing.sampleRatio: must be a number from 0 to 1, not 2"},
		"a share in words":                 {valid + "tracing: {sampleRatio: half}\n", `tracing.sampleRatio: must be a number, not "half"`},
		"a share that is no number":        {valid + "tracing: {endpoint: \"http://collector\", sampleRatio: .nan}\n", "tracing.sampleRatio: must be a number from 0 to 1, not NaN"},
		"headers without a collector":      {valid + "tracing: {headersFile: client-secret}\n", "tracing.endpoint: is missing"},
		"headers that are none":            {valid + "tracing: {endpoint: \"http://collector\", headersFile: client-secret}\n", "client-secret: line 1 is not NAME: VALUE"},
		"an object for a list":             {valid + "trustedProxies: {}\n", "trustedProxies: must be a list, not an object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tokenserveroptions.Load(folder(t, test.config), tokenserveroptions.Overrides{})
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func TestTheURLOfTheDatabaseMayBeInAFile(t *testing.T) {
	path := folder(t, strings.Replace(valid, "{sqlite: {path: tokenserver.db}}", "{postgresql: {urlFile: url}}", 1))
	url := filepath.Join(filepath.Dir(path), "url")
	config, err := tokenserveroptions.Read(path)
	require.NoError(t, err)
	require.Contains(t, config.Files(), url, "a start waits for it")
	_, err = tokenserveroptions.LoadText(path)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(url, []byte("postgresql://u@db.example.com/d?sslmode=require\n"), 0o600))
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Equal(t, "postgresql://u@db.example.com/d?sslmode=require", loaded.Config.Storage.PostgreSQL.Options().URL)
	require.Contains(t, strings.Join(loaded.Warnings, "\n"), "the sslmode of storage.postgresql.urlFile")
}

func TestWarningsNameWhatIsProbablyNotMeant(t *testing.T) {
	for name, test := range map[string]struct{ config, want string }{
		"http on loopback":          {strings.Replace(valid, "https://id.example.com", "http://127.0.0.1:8080", 1), "publicURL is plain http"},
		"plain HTTP to the network": {valid + "listen: :8080\n", "listen :8080 speaks plain HTTP to the network"},
		"no administrator's client": {regexp.MustCompile("(?m)^bootstrap.*\n").ReplaceAllString(valid, ""), "nobody can register the first app"},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := tokenserveroptions.Load(folder(t, test.config), tokenserveroptions.Overrides{})
			require.NoError(t, err)
			require.Len(t, loaded.Warnings, 1)
			require.Contains(t, loaded.Warnings[0], test.want)
		})
	}
}

func TestACertificateOfAnotherHostIsWarnedOf(t *testing.T) {
	path := folder(t, valid+"listen: :8443\ntlsCertFile: tls.crt\ntlsKeyFile: tls.key\n")
	writeCertificate(t, filepath.Dir(path), "id.example.com")
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)
	writeCertificate(t, filepath.Dir(path), "other.example.com")
	loaded, err = tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Len(t, loaded.Warnings, 1)
	require.Contains(t, loaded.Warnings[0], "does not cover the host of publicURL")
}

func writeCertificate(t *testing.T, dir, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write(t, dir, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, dir, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func TestAPasswordHashComesFromItsFile(t *testing.T) {
	path := folder(t, valid+"  passwordHashFile: owner.hash\n")
	hash, err := user.HashPassword("correct horse")
	require.NoError(t, err)
	write(t, filepath.Dir(path), "owner.hash", hash+"\n")
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	owner, _ := loaded.Directory.User(ownerID)
	require.Equal(t, hash, owner.PasswordHash)
}

func TestAnOverrideIsValidatedLikeTheFile(t *testing.T) {
	loaded, err := tokenserveroptions.Load(folder(t, valid), tokenserveroptions.Overrides{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:0", loaded.Config.Listen)
	require.Equal(t, "127.0.0.1:8081", loaded.Config.OperationsListen)
	_, err = tokenserveroptions.Load(folder(t, valid), tokenserveroptions.Overrides{OperationsListen: "8081"})
	require.ErrorContains(t, err, "operationsListen: must be host:port")
}

func TestLoadTextDoesNotNeedTheFiles(t *testing.T) {
	path := write(t, t.TempDir(), "config.yaml", valid+"  passwordHashFile: owner.hash\n")
	_, err := tokenserveroptions.LoadText(path)
	require.NoError(t, err)
	_, err = tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.ErrorContains(t, err, "3 problems")
}

func TestASecretFileIsOneLineOfASCII(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "too short": "short", "two lines": secret + "\n" + secret, "not ASCII": "Geheimnis mit Umlaut ä", "a tab": secret + "\t",
		"too long": strings.Repeat("x", 513),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "secret", content)
			_, err := (&tokenserveroptions.AdminClient{ClientSecretFile: path}).Secrets()
			want := path + " must hold one line of 16 to 512 printable ASCII characters"
			if content == "" {
				want += ": it is empty"
			}
			require.EqualError(t, err, want)
		})
	}
}

func TestOnlyOrganizationsAndUsersNeedNoRestart(t *testing.T) {
	path := folder(t, valid)
	before, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	write(t, filepath.Dir(path), "config.yaml", strings.Replace(valid, "name: Main", "name: Head", 1)+"listen: :1\naccessTokenLifetime: 1m\n")
	after, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Equal(t, []string{"listen", "accessTokenLifetime"}, before.Config.RestartFields(after.Config))
}

func TestProxiesAreAddressesOrNetworks(t *testing.T) {
	c := tokenserveroptions.Config{TrustedProxies: []string{"10.0.0.7", "10.0.0.0/8", "::1"}}
	require.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	}, c.ProxyPrefixes())
}

// FuzzLoadText: no text makes the reader panic or go on with half a
// configuration.
func FuzzLoadText(f *testing.F) {
	f.Add(valid)
	f.Add(valid + "apps: [{clientID: a, clientName: A, grantTypes: [client_credentials], scopes: [x, {scope: y, organizationID: z}], refreshGrace: 1s}]\n")
	f.Add(valid + "apps: [{}, [], {scopes: {}}]\nmaxStale: 1m\n")
	f.Add("a: &a [*a]\n")
	f.Add("organizations: &o [{environments: *o}]\n")
	f.Add("users: [{roles: {}}]\n---\n")
	f.Add("? [a]: b\n<<: {publicURL: x}\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		loaded, err := tokenserveroptions.LoadText(path)
		if err != nil {
			require.Nil(t, loaded)
			require.NotEmpty(t, err.Error())
			return
		}
		require.NotEmpty(t, loaded.Config.PublicURL)
		require.NotEmpty(t, loaded.Directory.Organizations())
	})
}
