// SPDX-License-Identifier: Apache-2.0

// Package manageroptions reads the flags of the manager.
package manageroptions

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"connectedapps.dev/operator/internal/options"
	"connectedapps.dev/operator/internal/tracing"
)

// Options are the manager's options.
type Options struct {
	// Namespace is the manager's own.
	Namespace string
	// Namespaces are those whose ConnectedApps and AccessTokens are served,
	// beside the manager's own; empty: all.
	Namespaces []string
	// LeaderElect lets only one of several managers work.
	LeaderElect bool
	// HealthProbeBindAddress serves /healthz and /readyz; "0": none.
	HealthProbeBindAddress string
	// MetricsBindAddress serves /metrics; "0": none.
	MetricsBindAddress string
	// MetricsSecure serves metrics over TLS, to those whom the API server lets.
	MetricsSecure bool
	// BootstrapSecrets creates the bundled token server's encryption key.
	BootstrapSecrets bool
	// ManageTLS makes and renews its certificates.
	ManageTLS bool
	// ResyncInterval is how often each client is compared with its spec.
	ResyncInterval time.Duration
	// ProbeInterval is how often each token server is probed.
	ProbeInterval time.Duration
	// MinimumTokenLifetime is the shortest life of a token that goes into a
	// Secret.
	MinimumTokenLifetime time.Duration
	// Tracing says where spans are sent.
	Tracing tracing.Options
	// LogFormat is text or json. LogLevel is the least that is logged.
	LogFormat string
	LogLevel  slog.Level
	// Version prints the version and ends the program.
	Version bool
}

// envPrefix of the variables that set flags: MANAGER_NAMESPACE is --namespace.
const envPrefix = "MANAGER_"

const help = `manager keeps ConnectedApps registered on their token servers, their
credentials in Secrets, and access tokens fresh.

It connects to the cluster it runs in, or to that of --kubeconfig or $KUBECONFIG.
A flag --resync-interval may also be set by the variable MANAGER_RESYNC_INTERVAL,
and so on. Neither takes a secret.

Exit status: 0 when stopped by SIGTERM or SIGINT, 1 when it could not go on, 2
for wrong flags.

Flags:
`

// Parse reads the arguments, then validates; a variable MANAGER_<FLAG> sets a
// flag that the arguments do not. All problems are reported at once. The error
// is flag.ErrHelp after the help was written to output.
func Parse(args []string, getenv func(string) string, output io.Writer) (*Options, error) {
	o := &Options{}
	flags := o.flagSet()
	problems, err := options.Read(flags, envPrefix, args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		writeHelp(output, flags)
	}
	if err != nil {
		return nil, err
	}
	if o.Version {
		return o, nil
	}
	problems = append(problems, o.validate()...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return o, nil
}

// Help is what --help is made of: the text before the flags, and these.
func Help() (text string, flags *flag.FlagSet) {
	text, _ = strings.CutSuffix(help, "\nFlags:\n")
	return text, new(Options).flagSet()
}

func (o *Options) flagSet() *flag.FlagSet {
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	config.RegisterFlags(flags)
	flags.StringVar(&o.Namespace, "namespace", "connectedapps-system", "`namespace` the manager runs in, with the credentials of TokenServers")
	flags.Func("namespaces", "`namespaces`, separated by commas, whose objects are served beside those of the manager's own; none: all", o.setNamespaces)
	flags.BoolVar(&o.LeaderElect, "leader-elect", false, "let only one of several managers work at a time")
	flags.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "`address` of /healthz and /readyz; 0 for none")
	flags.StringVar(&o.MetricsBindAddress, "metrics-bind-address", "0", "`address` of /metrics, such as :8443; 0 for none")
	flags.BoolVar(&o.MetricsSecure, "metrics-secure", true, "serve metrics over TLS to callers the API server knows and allows; false: plain, to anybody")
	flags.BoolVar(&o.BootstrapSecrets, "bootstrap-secrets", true, "create the Secret tokenserver-keys when it is absent")
	flags.BoolVar(&o.ManageTLS, "manage-tls", true, "make and renew the certificates of the bundled token server")
	flags.DurationVar(&o.ResyncInterval, "resync-interval", 10*time.Minute, "how often each client on a token server is compared with its spec")
	flags.DurationVar(&o.ProbeInterval, "probe-interval", time.Minute, "how often each token server is probed")
	flags.DurationVar(&o.MinimumTokenLifetime, "minimum-token-lifetime", 10*time.Minute,
		"shortest life of a token that is put into a Secret, which takes up to two minutes to reach its readers")
	flags.StringVar(&o.Tracing.Endpoint, "tracing-endpoint", "",
		"`URL` of a collector of OTLP over HTTP, such as http://collector.observability:4318; none: no spans are made")
	flags.Float64Var(&o.Tracing.SampleRatio, "tracing-sample-ratio", tracing.DefaultSampleRatio, "`share` of the passes whose spans are sent, from 0 to 1")
	flags.StringVar(&o.Tracing.HeadersFile, "tracing-headers-file", "", "`file` with a line NAME: VALUE for each header to send to the collector")
	flags.StringVar(&o.Tracing.CAFile, "tracing-ca-file", "", "`file` of the certificates that verify the collector's; none: the system's")
	flags.StringVar(&o.LogFormat, "log-format", "text", "`format` of the log on standard error: text or json")
	flags.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	flags.BoolVar(&o.Version, "version", false, "print the version and exit")
	return flags
}

// tracingFlags are what the fields of the options are called here.
var tracingFlags = map[string]string{
	"endpoint": "--tracing-endpoint", "sampleRatio": "--tracing-sample-ratio", "headersFile": "--tracing-headers-file", "caFile": "--tracing-ca-file",
}

var namespaceForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (o *Options) validate() []error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !namespaceForm.MatchString(o.Namespace) {
		add("--namespace %q is not the name of a namespace", o.Namespace)
	}
	for _, name := range o.Namespaces {
		if !namespaceForm.MatchString(name) {
			add("--namespaces: %q is not the name of a namespace", name)
		}
	}
	for _, a := range []struct{ name, address string }{
		{"--health-probe-bind-address", o.HealthProbeBindAddress}, {"--metrics-bind-address", o.MetricsBindAddress},
	} {
		if _, _, err := net.SplitHostPort(a.address); a.address != "0" && err != nil {
			add("%s must be host:port, such as :8081, or 0: %w", a.name, err)
		}
	}
	for _, d := range []struct {
		name         string
		value, least time.Duration
	}{
		{"--resync-interval", o.ResyncInterval, time.Second},
		{"--probe-interval", o.ProbeInterval, time.Second},
		{"--minimum-token-lifetime", o.MinimumTokenLifetime, time.Second},
	} {
		if d.value < d.least {
			add("%s must be at least %s", d.name, d.least)
		}
	}
	for _, p := range append(o.Tracing.Validate(), o.Tracing.ValidateFiles()...) {
		add("%s: %w", tracingFlags[p.Field], p.Err)
	}
	if o.LogFormat != "text" && o.LogFormat != "json" {
		add("--log-format must be text or json")
	}
	return problems
}

// setNamespaces reads the value of --namespaces.
func (o *Options) setNamespaces(value string) error {
	o.Namespaces = nil
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.Namespaces = append(o.Namespaces, name)
		}
	}
	if len(o.Namespaces) == 0 {
		// It would mean all of them, and the roles that go with a list do not
		// allow that.
		return errors.New("names no namespace: leave the flag out to serve all of them")
	}
	return nil
}

// Handler returns the log handler that LogFormat and LogLevel name.
func (o *Options) Handler(w io.Writer) slog.Handler {
	options := &slog.HandlerOptions{Level: o.LogLevel}
	if o.LogFormat == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

func writeHelp(w io.Writer, flags *flag.FlagSet) {
	_, _ = io.WriteString(w, help)
	flags.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		if kind != "" {
			kind = " " + kind
		}
		_, _ = fmt.Fprintf(w, "  --%s%s (default %q)\n        %s\n", f.Name, kind, f.DefValue, usage)
	})
}
