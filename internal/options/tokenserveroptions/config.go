// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tracing"
)

// Config is the configuration file.
type Config struct {
	// PublicURL is how clients reach the server: scheme, host and port only. In the
	// file $(POD_NAMESPACE) in it stands for the server's own namespace.
	PublicURL string `yaml:"publicURL"`
	// Listen is the address of the endpoints.
	Listen string `yaml:"listen"`
	// OperationsListen is the address of health, readiness and metrics.
	OperationsListen string `yaml:"operationsListen"`
	// MaxConnections is how many connections clients may have open at once.
	MaxConnections int `yaml:"maxConnections"`
	// TLSCertFile and TLSKeyFile are PEM; both empty: TLS ends in front.
	TLSCertFile string  `yaml:"tlsCertFile"`
	TLSKeyFile  string  `yaml:"tlsKeyFile"`
	Storage     Storage `yaml:"storage"`
	// EncryptionKeyFiles wrap the keys of the database; the first encrypts, all
	// decrypt.
	EncryptionKeyFiles []string `yaml:"encryptionKeyFiles"`
	// AccessTokenLifetime is in whole seconds.
	AccessTokenLifetime time.Duration `yaml:"accessTokenLifetime"`
	// MaxStale is for how long client_credentials is served from memory while the
	// database does not answer; zero: not at all.
	MaxStale time.Duration `yaml:"maxStale"`
	// RecoverableSecrets keeps client secrets encrypted and shows them to
	// administrators again.
	RecoverableSecrets bool `yaml:"recoverableSecrets"`
	// LoginEndpoint serves /accounts/login.
	LoginEndpoint bool `yaml:"loginEndpoint"`
	// TrustedProxies are addresses or networks whose X-Forwarded-For is taken.
	TrustedProxies []string  `yaml:"trustedProxies"`
	Bootstrap      Bootstrap `yaml:"bootstrap"`
	// WorkloadIssuers are the clusters, and other issuers, whose workloads
	// authenticate as apps with a token of theirs.
	WorkloadIssuers []WorkloadIssuer               `yaml:"workloadIssuers"`
	Organizations   []directory.OrganizationConfig `yaml:"organizations"`
	Users           []directory.UserConfig         `yaml:"users"`
	// Tracing says where spans are sent; read at start.
	Tracing tracing.Options `yaml:"tracing"`
	// Apps are kept as they are here; people and programs cannot change them.
	Apps []App `yaml:"apps"`
}

// Storage says where the database is: exactly one of the two.
type Storage struct {
	SQLite SQLite `yaml:"sqlite"`
	// PostgreSQL is nil for SQLite.
	PostgreSQL *PostgreSQL `yaml:"postgresql"`
}

// PostgreSQL is a database that several servers share.
type PostgreSQL struct {
	// URL has no password. With URLFile it is what that holds, once it was read.
	URL string `yaml:"url"`
	// URLFile holds the URL in place of URL, read at start; empty: URL is given.
	URLFile string `yaml:"urlFile"`
	// PasswordFile is read again for every new connection; empty: no password.
	PasswordFile string `yaml:"passwordFile"`
	// CAFile verifies the server's certificate; empty: the system's do.
	CAFile string `yaml:"caFile"`
}

// Options are what opens the database.
func (p *PostgreSQL) Options() postgresql.Options {
	return postgresql.Options{URL: p.URL, PasswordFile: p.PasswordFile, CAFile: p.CAFile}
}

// SQLite is a database in one file.
type SQLite struct {
	Path string `yaml:"path"`
}

// Bootstrap is what the server makes of its own accord at start.
type Bootstrap struct {
	// AdminClient is nil when there is none.
	AdminClient *AdminClient `yaml:"adminClient"`
}

// AdminClient is the administrator's client: it may manage the apps of the
// first organization. It has a secret, workloads, or both.
type AdminClient struct {
	ClientID string `yaml:"clientID"`
	// ClientSecretFile holds its secret. With FederatedIdentities the file need not
	// be there: without it the client has no secret.
	ClientSecretFile string `yaml:"clientSecretFile"`
	// FederatedIdentities are the workloads whose tokens authenticate it.
	FederatedIdentities []FederatedIdentity `yaml:"federatedIdentities"`
}

// Defaults of the fields that may be left out.
const (
	DefaultListen              = "127.0.0.1:8080"
	DefaultOperationsListen    = "127.0.0.1:8081"
	DefaultMaxConnections      = 500
	DefaultAccessTokenLifetime = time.Hour
	DefaultMaxStale            = 15 * time.Minute
)

func defaults() *Config {
	return &Config{
		Listen: DefaultListen, OperationsListen: DefaultOperationsListen, MaxConnections: DefaultMaxConnections,
		AccessTokenLifetime: DefaultAccessTokenLifetime, MaxStale: DefaultMaxStale, LoginEndpoint: true,
		Tracing: tracing.Options{SampleRatio: tracing.DefaultSampleRatio},
	}
}

// Files are the files that the server needs, but for the database.
func (c *Config) Files() []string {
	files := slices.Clone(c.EncryptionKeyFiles)
	files = append(files, c.TLSCertFile, c.TLSKeyFile, c.Tracing.HeadersFile, c.Tracing.CAFile)
	if p := c.Storage.PostgreSQL; p != nil {
		files = append(files, p.URLFile, p.PasswordFile, p.CAFile)
	}
	if a := c.Bootstrap.AdminClient; a != nil && !a.secretOptional() {
		files = append(files, a.ClientSecretFile)
	}
	for _, organization := range c.Organizations {
		files = append(files, organization.Branding.LogoFile)
	}
	for _, user := range c.Users {
		files = append(files, user.PasswordHashFile)
	}
	for i := range c.Apps {
		files = append(files, c.Apps[i].Files()...)
	}
	for i := range c.WorkloadIssuers {
		for _, path := range c.WorkloadIssuers[i].paths() {
			files = append(files, *path)
		}
	}
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}

// resolve makes the paths of files relative to the folder of the configuration
// file, so that it means the same wherever the server is started.
func (c *Config) resolve(folder string) {
	paths := []*string{&c.TLSCertFile, &c.TLSKeyFile, &c.Storage.SQLite.Path, &c.Tracing.HeadersFile, &c.Tracing.CAFile}
	for i := range c.EncryptionKeyFiles {
		paths = append(paths, &c.EncryptionKeyFiles[i])
	}
	if p := c.Storage.PostgreSQL; p != nil {
		paths = append(paths, &p.URLFile, &p.PasswordFile, &p.CAFile)
	}
	if c.Bootstrap.AdminClient != nil {
		paths = append(paths, &c.Bootstrap.AdminClient.ClientSecretFile)
	}
	for i := range c.Organizations {
		paths = append(paths, &c.Organizations[i].Branding.LogoFile)
	}
	for i := range c.Users {
		paths = append(paths, &c.Users[i].PasswordHashFile)
	}
	for i := range c.Apps {
		paths = append(paths, c.Apps[i].paths()...)
	}
	for i := range c.WorkloadIssuers {
		paths = append(paths, c.WorkloadIssuers[i].paths()...)
	}
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}

// live are the fields that a running server takes over.
var live = []string{"organizations", "users", "apps"}

// RestartFields are the fields that differ between c and next and that only a
// restart takes over.
func (c *Config) RestartFields(next *Config) []string {
	var fields []string
	before, after := reflect.ValueOf(*c), reflect.ValueOf(*next)
	for i := range before.NumField() {
		name := before.Type().Field(i).Tag.Get("yaml")
		if !slices.Contains(live, name) && !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			fields = append(fields, name)
		}
	}
	return fields
}
