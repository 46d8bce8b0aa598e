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
	"log/slog"
	"net"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/options"
)

// Options are the refresher's options.
type Options struct {
	// Token is the one that the flags describe; of no meaning with Config.
	Token
	// Config is the file that Tokens are read from; empty: the flags describe
	// the one token there is.
	Config string
	// Tokens are all that are kept fresh.
	Tokens []Token
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
	problems = append(problems, o.readTokens(flags, getenv)...)
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
	flags := flag.NewFlagSet("refresher", flag.ContinueOnError)
	o.tokenFlags(flags)
	flags.StringVar(&o.Config, "config", "", "YAML `file` of several tokens to keep fresh, instead of the flags of one")
	flags.StringVar(&o.HealthListen, "health-listen", "",
		"`address` for /startupz, /readyz, /healthz and /metrics, such as :8090 (default: none)")
	flags.BoolVar(&o.Once, "once", false, "write one token and exit, as an init container or a Job does")
	flags.DurationVar(&o.OnceTimeout, "once-timeout", 2*time.Minute, "how long --once waits for the token (default 2m)")
	flags.StringVar(&o.LogFormat, "log-format", "text", "`format` of the log on standard error: text or json (default text)")
	flags.BoolVar(&o.Version, "version", false, "print the version and exit")
	return flags
}

// readTokens are those of the configuration file, or the one of the flags.
func (o *Options) readTokens(flags *flag.FlagSet, getenv func(string) string) (problems []error) {
	if o.Config == "" {
		o.Tokens = []Token{o.Token}
		return o.problems(func(flag string) string { return "--" + flag }, getenv)
	}
	ofToken := flag.NewFlagSet("", flag.ContinueOnError)
	new(Token).tokenFlags(ofToken)
	flags.Visit(func(f *flag.Flag) {
		if ofToken.Lookup(f.Name) != nil {
			problems = append(problems, fmt.Errorf("--config and --%s exclude each other: write %s into the file", f.Name, camelCase(f.Name)))
		}
	})
	tokens, wrong := readConfig(o.Config, getenv)
	o.Tokens = tokens
	for _, err := range wrong {
		problems = append(problems, fmt.Errorf("--config: %w", err))
	}
	return problems
}

func (o *Options) validate() []error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
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
