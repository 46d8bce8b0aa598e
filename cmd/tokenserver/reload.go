// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connectedapps.dev/operator/internal/filewatch"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/configapps"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// reloader takes over files that changed while the server runs. Everything but
// the organizations, the users, the apps and the content of files stays as it
// was at the start.
type reloader struct {
	flags     serveFlags
	started   *tokenserveroptions.Config
	current   *tokenserveroptions.Loaded
	directory *directory.Live
	// take makes the server use another directory.
	take func(context.Context, *directory.Directory) error
	// certificate is nil without TLS.
	certificate *atomic.Pointer[tls.Certificate]
	// apps writes those of the configuration; nil until the database is open.
	apps *configapps.Applier
	// applying is held while they are written: a database that was restored needs
	// them at any time.
	applying  sync.Mutex
	workloads *workload.Issuers
	failed    *prometheus.GaugeVec
	lastError map[string]string
	// adminSecret tells that the administrator's client has a secret.
	adminSecret bool
	logger      *slog.Logger
}

// Groups of files; the label of the metric.
const (
	groupConfig      = "configuration"
	groupCertificate = "certificate"
	groupAdminClient = "admin_client"
	groupIssuers     = "workload_issuers"
)

func newReloader(f serveFlags, loaded *tokenserveroptions.Loaded, logger *slog.Logger) (*reloader, error) {
	workloads, err := loaded.Config.Workloads(time.Now, logger)
	if err != nil {
		return nil, fmt.Errorf("building the issuers of workload tokens: %w", err)
	}
	r := &reloader{
		flags: f, started: loaded.Config, current: loaded, directory: directory.NewLive(loaded.Directory), workloads: workloads,
		failed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tokenserver_config_reload_failed",
			Help: "1 while files that changed could not be taken over and the earlier ones are in use, else 0.",
		}, []string{"files"}),
		lastError: map[string]string{},
		logger:    logger,
	}
	if loaded.Config.TLSCertFile != "" {
		r.certificate = &atomic.Pointer[tls.Certificate]{}
		return r, r.loadCertificate(context.Background())
	}
	return r, nil
}

// metrics are what a registry is to have of it.
func (r *reloader) metrics() []prometheus.Collector {
	all := []prometheus.Collector{r.failed}
	if r.certificate != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tokenserver_certificate_expiration_timestamp_seconds",
			Help: "When the certificate that is in use expires; absent where TLS ends in front of the server.",
		}, r.certificateExpires))
	}
	return all
}

// opened is told the database.
func (r *reloader) opened(store storage.Apps, keyring *keys.Keyring) {
	hasher := &token.SecretHasher{Key: keyring.DataKey(storage.PurposeSecretHash)}
	r.apps = &configapps.Applier{Apps: store, Hash: hasher.Hash, Now: time.Now}
}

func (r *reloader) watch(ctx context.Context) {
	groups := []*filewatch.Group{{Name: groupConfig, Files: r.configFiles, Apply: r.loadConfig}}
	if r.certificate != nil {
		files := []string{r.started.TLSCertFile, r.started.TLSKeyFile}
		groups = append(groups, &filewatch.Group{Name: groupCertificate, Files: func() []string { return files }, Apply: r.loadCertificate})
	}
	if c := r.started.Bootstrap.AdminClient; c != nil && c.ClientSecretFile != "" {
		files := []string{c.ClientSecretFile}
		groups = append(groups, &filewatch.Group{Name: groupAdminClient, Files: func() []string { return files }, Apply: r.applyApps})
	}
	if files := r.started.JWKSFiles(); len(files) > 0 {
		reload := func(context.Context) error { return r.workloads.Reload() }
		groups = append(groups, &filewatch.Group{Name: groupIssuers, Files: func() []string { return files }, Apply: reload})
	}
	for _, group := range groups {
		r.failed.WithLabelValues(group.Name).Set(0)
	}
	(&filewatch.Watcher{Groups: groups, Report: r.report}).Run(ctx)
}

// report logs an error once, not at every attempt.
func (r *reloader) report(group string, err error) {
	if err == nil {
		if r.lastError[group] != "" {
			r.logger.Info("changed files are taken over again", "files", group)
		}
		r.lastError[group] = ""
		r.failed.WithLabelValues(group).Set(0)
		return
	}
	r.failed.WithLabelValues(group).Set(1)
	if r.lastError[group] != err.Error() {
		r.lastError[group] = err.Error()
		r.logger.Error("taking over changed files failed; the earlier ones stay in use", "files", group, "error", err)
	}
}

// configFiles are the configuration and what is read together with it.
func (r *reloader) configFiles() []string {
	files := []string{r.flags.config}
	for _, user := range r.current.Config.Users {
		if user.PasswordHashFile != "" {
			files = append(files, user.PasswordHashFile)
		}
	}
	for i := range r.current.Config.Apps {
		files = append(files, r.current.Config.Apps[i].Files()...)
	}
	return files
}

func (r *reloader) loadConfig(ctx context.Context) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	next, err := tokenserveroptions.Load(r.flags.config, r.flags.overrides)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(next, r.current) {
		return nil
	}
	// Before the swap: the first organization may have become another. One app that
	// cannot be written, such as an id that somebody else's app has, does not keep
	// whoever is disabled in office.
	problem := r.applyAppsOf(ctx, next)
	if err := errors.Join(problem, r.take(ctx, next.Directory)); err != nil {
		return err
	}
	r.current = next
	r.logger.Info("configuration read again", "organizations", len(next.Config.Organizations), "users", len(next.Config.Users), "apps", len(next.Apps))
	if fields := r.started.RestartFields(next.Config); len(fields) > 0 {
		r.logger.Warn("these settings take effect after a restart", "settings", strings.Join(fields, ", "))
	}
	return nil
}

func (r *reloader) loadCertificate(context.Context) error {
	pair, err := tls.LoadX509KeyPair(r.started.TLSCertFile, r.started.TLSKeyFile)
	if err != nil {
		return fmt.Errorf("loading the certificate: %w", err)
	}
	if before := r.certificate.Swap(&pair); before != nil && !reflect.DeepEqual(before.Certificate, pair.Certificate) {
		r.logger.Info("certificate read again", "not_after", pair.Leaf.NotAfter)
	}
	return nil
}

func (r *reloader) certificateExpires() float64 {
	if pair := r.certificate.Load(); pair != nil {
		return float64(pair.Leaf.NotAfter.Unix())
	}
	return 0
}

// applyApps brings the apps of the configuration into the database.
func (r *reloader) applyApps(ctx context.Context) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	return r.applyAppsOf(ctx, r.current)
}

// applyAppsOf is called with applying held.
func (r *reloader) applyAppsOf(ctx context.Context, loaded *tokenserveroptions.Loaded) error {
	apps := loaded.Apps
	c := r.started.Bootstrap.AdminClient
	var secrets []string
	if c != nil {
		var err error
		secrets, err = c.Secrets()
		if err != nil {
			return fmt.Errorf("reading the secret of the administrator's client: %w", err)
		}
		apps = append([]configapps.App{c.App(loaded.Directory.Organizations()[0], secrets)}, apps...)
	}
	if err := r.apps.Apply(ctx, apps); err != nil {
		return err
	}
	if c != nil {
		r.tellAdminSecret(c, len(secrets) > 0)
	}
	return nil
}

// tellAdminSecret logs that a client which can do without a secret has one, and
// has none any more: whoever deletes it wants to know.
func (r *reloader) tellAdminSecret(c *tokenserveroptions.AdminClient, has bool) {
	logger := r.logger.With("client_id", c.ClientID, "file", c.ClientSecretFile)
	switch {
	case has == r.adminSecret || len(c.FederatedIdentities) == 0:
	case has:
		logger.Info("the administrator's client has a secret beside its federated identities")
	default:
		logger.Info("the administrator's client has no secret any more")
	}
	r.adminSecret = has
}
