// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/text"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// WorkloadIssuer is a cluster, or another issuer of workload tokens. Its keys are
// those of JWKSFile, or TokenReview is asked; without either they are found by
// OpenID discovery.
type WorkloadIssuer struct {
	// Name is what apps refer to.
	Name string `yaml:"name"`
	// Issuer is the iss of its tokens; empty: that of the token in the TokenFile of
	// Discovery or TokenReview.
	Issuer string `yaml:"issuer"`
	// Audience is what aud of its tokens must be; empty: this server's issuer.
	Audience string `yaml:"audience"`
	// MaxTokenLifetime is how long its tokens may be valid; zero: an hour.
	MaxTokenLifetime time.Duration `yaml:"maxTokenLifetime"`
	// Discovery says where to ask instead of the issuer; nil: nowhere else.
	Discovery *IssuerEndpoint `yaml:"discovery"`
	// JWKSFile is a JWK Set.
	JWKSFile string `yaml:"jwksFile"`
	// TokenReview is the API server that reviews its tokens.
	TokenReview *IssuerEndpoint `yaml:"tokenReview"`
}

// IssuerEndpoint is how an issuer is reached. The zero value means the API server
// of the cluster that this server runs in, and the ServiceAccount of its Pod.
type IssuerEndpoint struct {
	// URL is where it is reached; empty beside other fields: at the issuer, or for a
	// TokenReview at the API server of the own cluster.
	URL string `yaml:"url"`
	// CAFile is PEM; empty: the authorities of the system.
	CAFile string `yaml:"caFile"`
	// TokenFile holds the bearer token to ask with; empty: none.
	TokenFile string `yaml:"tokenFile"`
}

// What every Pod has, for the API server of its own cluster.
const (
	inClusterURL       = "https://kubernetes.default.svc"
	inClusterCAFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	inClusterTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// completeIssuers gives what was left out its default.
func (c *Config) completeIssuers() {
	for i := range c.WorkloadIssuers {
		w := &c.WorkloadIssuers[i]
		w.Audience = cmp.Or(w.Audience, c.PublicURL+oauth.IssuerPath)
		w.MaxTokenLifetime = cmp.Or(w.MaxTokenLifetime, workload.DefaultLife)
		if d := w.Discovery; d != nil && *d == (IssuerEndpoint{}) {
			d.inCluster()
		}
		if r := w.TokenReview; r != nil && r.URL == "" {
			r.inCluster()
		}
	}
}

func (e *IssuerEndpoint) inCluster() {
	e.URL, e.CAFile, e.TokenFile = inClusterURL, cmp.Or(e.CAFile, inClusterCAFile), cmp.Or(e.TokenFile, inClusterTokenFile)
}

// tokenFile holds the token that this server asks the issuer with; empty: none.
func (w *WorkloadIssuer) tokenFile() string {
	for _, e := range []*IssuerEndpoint{w.Discovery, w.TokenReview} {
		if e != nil && e.TokenFile != "" {
			return e.TokenFile
		}
	}
	return ""
}

func (w *WorkloadIssuer) paths() []*string {
	paths := []*string{&w.JWKSFile}
	for _, e := range []*IssuerEndpoint{w.Discovery, w.TokenReview} {
		if e != nil {
			paths = append(paths, &e.CAFile, &e.TokenFile)
		}
	}
	return paths
}

// JWKSFiles are read again while the server runs.
func (c *Config) JWKSFiles() []string {
	var files []string
	for _, w := range c.WorkloadIssuers {
		if w.JWKSFile != "" {
			files = append(files, w.JWKSFile)
		}
	}
	return files
}

func (c *Config) issuerNames() []string {
	var names []string
	for _, w := range c.WorkloadIssuers {
		names = append(names, w.Name)
	}
	return names
}

// Workloads builds the issuers. The error is about a file that cannot be used.
func (c *Config) Workloads(now func() time.Time, logger *slog.Logger) (*workload.Issuers, error) {
	var issuers []workload.Issuer
	for i := range c.WorkloadIssuers {
		w := &c.WorkloadIssuers[i]
		source, err := w.source(now, logger)
		if err != nil {
			return nil, fmt.Errorf("workload issuer %s: %w", w.Name, err)
		}
		issuers = append(issuers, workload.Issuer{Name: w.Name, URL: w.Issuer, Audience: w.Audience, Life: w.MaxTokenLifetime, Source: source})
	}
	return workload.New(issuers, now)
}

func (w *WorkloadIssuer) source(now func() time.Time, logger *slog.Logger) (workload.Source, error) {
	switch {
	case w.JWKSFile != "":
		return workload.NewKeyFile(w.JWKSFile)
	case w.TokenReview != nil:
		return workload.NewTokenReview(w.TokenReview.connection()), nil
	}
	var at workload.Connection
	if w.Discovery != nil {
		at = w.Discovery.connection()
	}
	return workload.NewDiscovery(w.Issuer, at, now, logger.With("workload_issuer", w.Name)), nil
}

func (e *IssuerEndpoint) connection() workload.Connection {
	return workload.Connection{URL: strings.TrimSuffix(e.URL, "/"), CAFile: e.CAFile, TokenFile: e.TokenFile}
}

const (
	minTokenLifetime = 10 * time.Minute // Kubernetes makes no shorter ones
	maxTokenLifetime = 24 * time.Hour
	maxIssuerLength  = 512
)

var issuerNameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$`)

func (v *validator) workloadIssuers() {
	for i := range v.config.WorkloadIssuers {
		w, path := &v.config.WorkloadIssuers[i], fmt.Sprintf("workloadIssuers[%d]", i)
		earlier := v.config.WorkloadIssuers[:i]
		v.issuerName(path+".name", w.Name, earlier)
		v.learnedIssuer(path, w)
		v.issuerAudience(path, w, earlier)
		if life := w.MaxTokenLifetime; life < minTokenLifetime || life > maxTokenLifetime {
			v.addf(path+".maxTokenLifetime", "must be from 10m to 24h, not %s", life)
		}
		v.issuerSource(path, w)
	}
}

func (v *validator) issuerName(path, name string, earlier []WorkloadIssuer) {
	first := slices.IndexFunc(earlier, func(w WorkloadIssuer) bool { return w.Name == name })
	switch {
	case name == "":
		v.addf(path, "is required: what federated identities of apps call the issuer, such as the name of the cluster")
	case !issuerNameForm.MatchString(name):
		v.addf(path, "must be 1 to 63 lower-case letters, digits, hyphens or dots, not %q", name)
	case first >= 0:
		v.addf(path, "%q is already used at workloadIssuers[%d].name", name, first)
	}
}

// learnedIssuer gives an issuer that was left out its value: who made the token
// that it is asked with is the issuer. A cluster may have one that cannot be used;
// then nobody of it is trusted, and the server serves all others.
func (v *validator) learnedIssuer(path string, w *WorkloadIssuer) {
	if w.Issuer == "" && w.tokenFile() != "" {
		if !v.readsFiles {
			return
		}
		own, err := readOwnAccount(w.tokenFile())
		if err != nil {
			v.addf(path, "issuer is left out, and the token in tokenFile does not tell it: %v", err)
			return
		}
		if problem := httpsProblem(own.issuer); problem != "" {
			v.warnf("%s: tokens of workloads are not accepted: the issuer of the cluster, by the token in tokenFile, %s", path, problem)
			return
		}
		w.Issuer = own.issuer
	}
	v.issuer(path+".issuer", w.Issuer)
}

// ownServiceAccounts makes subjects of ServiceAccounts in the namespace of this
// server. Where files are not read the namespace is not known, and any serves to
// check the rest.
func (v *validator) ownServiceAccounts(parent string, identities []FederatedIdentity) {
	for i := range identities {
		f, path := &identities[i], fmt.Sprintf("%s.federatedIdentities[%d]", parent, i)
		at := slices.IndexFunc(v.config.WorkloadIssuers, func(w WorkloadIssuer) bool { return w.Name == f.IssuerName })
		switch {
		case f.ServiceAccount == "":
			continue
		case f.Subject != "":
			v.addf(path, "must have one of subject and serviceAccount")
			continue
		case at < 0: // told as of any identity
			f.Subject = serviceAccountPrefix + unknownNamespace + ":" + f.ServiceAccount
			continue
		case v.config.WorkloadIssuers[at].tokenFile() == "":
			v.addf(path, "serviceAccount is in the namespace that this server runs in, which workloadIssuers[%d] does not tell: "+
				"give subject, or the issuer discovery: {} when it is the cluster of this server", at)
			continue
		}
		own := ownAccount{namespace: unknownNamespace}
		if v.readsFiles {
			var err error
			if own, err = readOwnAccount(v.config.WorkloadIssuers[at].tokenFile()); err != nil {
				v.addf(path, "the namespace that this server runs in is not known: %v", err)
				continue
			}
			// Its namespace is one of that issuer, and says nothing of another.
			if issuer := v.config.WorkloadIssuers[at].Issuer; issuer != "" && issuer != own.issuer {
				v.addf(path, "the namespace that this server runs in is not known: the token in tokenFile of workloadIssuers[%d] is of the issuer %.100q, not %.100q",
					at, own.issuer, issuer)
				continue
			}
		}
		f.Subject = serviceAccountPrefix + own.namespace + ":" + f.ServiceAccount
	}
}

const (
	serviceAccountPrefix = "system:serviceaccount:"
	unknownNamespace     = "unknown"
)

// ownAccount is the ServiceAccount that this server runs as.
type ownAccount struct{ issuer, namespace string }

// readOwnAccount reads who this server is from the token that the kubelet gave it.
// The signature is the API server's to check: the file is trusted like the
// configuration beside it.
func readOwnAccount(file string) (ownAccount, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return ownAccount{}, err
	}
	var claims jwt.RegisteredClaims
	// The error must not show the token.
	if _, _, err := jwt.NewParser().ParseUnverified(string(bytes.TrimSpace(content)), &claims); err != nil {
		return ownAccount{}, fmt.Errorf("%s holds no token of a ServiceAccount", file)
	}
	namespace, _, ok := strings.Cut(strings.TrimPrefix(claims.Subject, serviceAccountPrefix), ":")
	if !ok || claims.Issuer == "" || !strings.HasPrefix(claims.Subject, serviceAccountPrefix) {
		return ownAccount{}, fmt.Errorf("%s holds a token of %.100q, which is no ServiceAccount", file, claims.Subject)
	}
	return ownAccount{claims.Issuer, namespace}, nil
}

// issuer is compared with iss byte by byte. A URL is no client id, so that nobody
// takes the one for the other.
func (v *validator) issuer(path, issuer string) {
	switch problem := httpsProblem(issuer); {
	case issuer == "":
		v.addf(path, "is required: the iss of its tokens, which kubectl get --raw /.well-known/openid-configuration tells of a cluster; "+
			"of the cluster that this server runs in discovery: {} finds it")
	case problem != "":
		v.addf(path, "%s", problem)
	case issuer == v.config.PublicURL+oauth.IssuerPath:
		v.addf(path, "is this server's own issuer: its tokens do not authenticate apps")
	}
}

// issuerAudience must be this server's alone: whoever gets a token for the API
// server, as every Pod and many a program does, must not be able to use it here.
func (v *validator) issuerAudience(parent string, w *WorkloadIssuer, earlier []WorkloadIssuer) {
	path := parent + ".audience"
	same := slices.IndexFunc(earlier, func(o WorkloadIssuer) bool { return o.Issuer != "" && o.Issuer == w.Issuer && o.Audience == w.Audience })
	switch {
	case len(w.Audience) > maxIssuerLength || text.Shown(w.Audience) != nil:
		v.addf(path, "must be a line of at most %d bytes", maxIssuerLength)
	case w.Audience == w.Issuer || strings.HasPrefix(w.Audience, inClusterURL):
		v.addf(path, "%s is the audience of the API server itself: leave audience out, or name one that only this server has", w.Audience)
	case same >= 0:
		v.addf(path, "workloadIssuers[%d] has the same issuer and the same audience (%s): give one of them an audience of its own", same, w.Audience)
	}
}

func (v *validator) issuerSource(path string, w *WorkloadIssuer) {
	given := 0
	for _, is := range []bool{w.Discovery != nil, w.JWKSFile != "", w.TokenReview != nil} {
		if is {
			given++
		}
	}
	if given > 1 {
		v.addf(path, "must have at most one of discovery, jwksFile and tokenReview")
	}
	for name, e := range map[string]*IssuerEndpoint{"discovery": w.Discovery, "tokenReview": w.TokenReview} {
		if e == nil || e.URL == "" {
			continue
		}
		if problem := httpsProblem(e.URL); problem != "" {
			v.addf(path+"."+name+".url", "%s", problem)
		}
	}
	if w.TokenReview != nil && w.TokenReview.TokenFile == "" {
		v.addf(path+".tokenReview.tokenFile", "is required: the token of a ServiceAccount that may create tokenreviews")
	}
}

// httpsProblem says what is wrong with the URL of an issuer; empty: nothing.
func httpsProblem(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fmt.Sprintf("must be an https URL, not %.60q", raw)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		return "must not hold a user name, a query or a fragment"
	case len(raw) > maxIssuerLength || text.Shown(raw) != nil:
		return fmt.Sprintf("must be a line of at most %d bytes", maxIssuerLength)
	}
	return ""
}

func (v *validator) workloadIssuerFiles() {
	for i := range v.config.WorkloadIssuers {
		w, path := &v.config.WorkloadIssuers[i], fmt.Sprintf("workloadIssuers[%d]", i)
		if w.JWKSFile != "" {
			if _, err := workload.NewKeyFile(w.JWKSFile); err != nil {
				v.addf(path+".jwksFile", "%v", err)
			}
		}
		for name, e := range map[string]*IssuerEndpoint{"discovery": w.Discovery, "tokenReview": w.TokenReview} {
			if e == nil {
				continue
			}
			if err := e.connection().Check(); err != nil {
				v.addf(path+"."+name, "%v", err)
			}
		}
	}
}
