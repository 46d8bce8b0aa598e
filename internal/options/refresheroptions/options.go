// SPDX-License-Identifier: Apache-2.0

// Package refresheroptions reads the flags of the refresher. It is a package of
// its own, so that the small binary does not link what the flags of the others
// need.
package refresheroptions

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/options"
	"connectedapps.dev/operator/internal/refresher"
)

// Options are the refresher's options.
type Options struct {
	// CredentialsDir holds the files of the credentials Secret.
	CredentialsDir string
	// OutputDir receives the token's files; empty for none.
	OutputDir string
	// Outputs are those beside it, or in its stead.
	Outputs
	// Mode of the token's files.
	Mode fs.FileMode
	// Group id of the token's files; 0 leaves it to the system.
	Group int
	// Scope to ask for, space-delimited; empty asks for all the app has.
	Scope string
	// TokenURL replaces the token endpoint the credentials name.
	TokenURL string
	// RequestFormat is the encoding of the token request.
	RequestFormat refresher.Encoding
	// HealthListen is the address of probes and metrics; empty for none.
	HealthListen string
	// Once ends the program after the first token.
	Once bool
	// OnceTimeout bounds the wait for the first token with Once.
	OnceTimeout time.Duration
	// LogFormat is text or json.
	LogFormat string
	// Version prints the version and ends the program.
	Version bool
}

// envPrefix of the variables that set flags: REFRESHER_OUTPUT_DIR is
// --output-dir.
const envPrefix = "REFRESHER_"

// Parse reads the arguments, then validates; a variable REFRESHER_<FLAG> sets a
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
	problems = append(problems, o.Outputs.validate(o.OutputDir, getenv)...)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Options) flagSet() *flag.FlagSet {
	flags := flag.NewFlagSet("refresher", flag.ContinueOnError)
	o.Mode = 0o440
	o.RequestFormat = refresher.EncodingForm
	flags.StringVar(&o.CredentialsDir, "credentials-dir", "",
		"`directory` of the credentials Secret's files: client-id, client-secret, token-url, ... (required)")
	flags.StringVar(&o.OutputDir, "output-dir", "", "`directory` the token's files are written to (required without --secret and --serve)")
	o.register(flags)
	flags.Func("mode", "`octal` mode of the token's files (default 0440)", o.setMode)
	flags.IntVar(&o.Group, "group", 0, "group `id` of the token's files (default: as the directory gives)")
	flags.StringVar(&o.Scope, "scope", "", "space-delimited `scopes` to ask for (default: all the app has)")
	flags.StringVar(&o.TokenURL, "token-url", "", "token endpoint `URL` to use instead of the credentials' own")
	flags.Func("request-format", "`form` or json: how the token request is written (default form)", o.setRequestFormat)
	flags.StringVar(&o.HealthListen, "health-listen", "",
		"`address` for /startupz, /readyz, /healthz and /metrics, such as :8090 (default: none)")
	flags.BoolVar(&o.Once, "once", false, "write one token and exit, as an init container or a Job does")
	flags.DurationVar(&o.OnceTimeout, "once-timeout", 2*time.Minute, "how long --once waits for the token (default 2m)")
	flags.StringVar(&o.LogFormat, "log-format", "text", "`format` of the log on standard error: text or json (default text)")
	flags.BoolVar(&o.Version, "version", false, "print the version and exit")
	return flags
}

func (o *Options) setMode(s string) error {
	mode, err := strconv.ParseUint(s, 8, 32)
	if err != nil || mode > 0o777 {
		return errors.New("must be three or four octal digits, such as 0440")
	}
	o.Mode = fs.FileMode(mode)
	return nil
}

func (o *Options) setRequestFormat(s string) error {
	switch e := refresher.Encoding(s); e {
	case refresher.EncodingForm, refresher.EncodingJSON:
		o.RequestFormat = e
		return nil
	}
	return errors.New("must be form or json")
}

func (o *Options) validate() []error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch info, err := os.Stat(o.CredentialsDir); {
	case o.CredentialsDir == "":
		add("--credentials-dir is required: where the credentials Secret is mounted")
	case err != nil:
		add("--credentials-dir: %w", err)
	case !info.IsDir():
		add("--credentials-dir: %s is not a directory; mount the whole Secret without subPath, so that its rotation is seen", o.CredentialsDir)
	}
	if o.OutputDir != "" && o.OutputDir == o.CredentialsDir {
		add("--output-dir and --credentials-dir must differ")
	}
	if o.Mode&0o400 == 0 {
		add("--mode %04o: the owner must be able to read the files", o.Mode)
	}
	if o.Group < 0 {
		add("--group must not be negative")
	}
	if u, err := url.Parse(o.TokenURL); o.TokenURL != "" && (err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http")) {
		add("--token-url must be an http or https URL")
	}
	if _, _, err := net.SplitHostPort(o.HealthListen); o.HealthListen != "" && err != nil {
		add("--health-listen must be host:port, such as :8090: %w", err)
	}
	if o.OnceTimeout <= 0 {
		add("--once-timeout must be positive")
	}
	if o.LogFormat != "text" && o.LogFormat != "json" {
		add("--log-format must be text or json")
	}
	return problems
}

// Handler returns the log handler that LogFormat names.
func (o *Options) Handler(w io.Writer) slog.Handler {
	if o.LogFormat == "json" {
		return slog.NewJSONHandler(w, nil)
	}
	return slog.NewTextHandler(w, nil)
}
