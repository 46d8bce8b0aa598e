// SPDX-License-Identifier: Apache-2.0

package manageroptions_test

import (
	"bytes"
	"flag"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/manageroptions"
)

func none(string) string { return "" }

func TestDefaultsAreThoseOfACluster(t *testing.T) {
	o, err := manageroptions.Parse(nil, none, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "connectedapps-system", o.Namespace)
	require.Equal(t, 10*time.Minute, o.MinimumTokenLifetime)
	require.True(t, o.MetricsSecure, "metrics are for those whom the API server lets")
	require.True(t, o.BootstrapSecrets)
	require.True(t, o.ManageTLS)
	require.False(t, o.LeaderElect)
}

func TestArgumentsPrevailOverTheEnvironment(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"MANAGER_NAMESPACE": "from-env", "MANAGER_RESYNC_INTERVAL": "3m"}[name]
	}
	o, err := manageroptions.Parse([]string{"--namespace=from-args"}, env, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "from-args", o.Namespace)
	require.Equal(t, 3*time.Minute, o.ResyncInterval)
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	env := func(name string) string { return map[string]string{"MANAGER_LOG_LEVEL": "loud"}[name] }
	_, err := manageroptions.Parse([]string{
		"--namespace=Not_One", "--resync-interval=1ms", "--minimum-token-lifetime=0s", "--metrics-bind-address=8443", "--log-format=xml", "--tracing-endpoint=collector:4318", "--tracing-sample-ratio=2", "extra",
	}, env, io.Discard)
	for _, problem := range []string{
		`--namespace "Not_One"`, "--resync-interval must be at least 1s", "--minimum-token-lifetime must be at least 1s",
		"--metrics-bind-address must be host:port", "--log-format must be text or json", "--tracing-endpoint: must be the URL of a collector", "--tracing-sample-ratio: must be a number from 0 to 1", `unexpected argument "extra"`, "variable MANAGER_LOG_LEVEL",
	} {
		require.ErrorContains(t, err, problem)
	}
}

func TestNamespacesAreAList(t *testing.T) {
	for argument, want := range map[string][]string{
		"":                               nil,
		"--namespaces=payments":          {"payments"},
		"--namespaces=payments, orders,": {"payments", "orders"},
	} {
		var args []string
		if argument != "" {
			args = append(args, argument)
		}
		o, err := manageroptions.Parse(args, none, io.Discard)
		require.NoError(t, err, argument)
		require.Equal(t, want, o.Namespaces, argument)
	}
	for argument, problem := range map[string]string{
		"--namespaces=":           "names no namespace: leave the flag out to serve all of them",
		"--namespaces=,":          "names no namespace: leave the flag out to serve all of them",
		"--namespaces=payments,*": `--namespaces: "*" is not the name of a namespace`,
	} {
		_, err := manageroptions.Parse([]string{argument}, none, io.Discard)
		require.ErrorContains(t, err, problem, argument)
	}
}

func TestUnknownFlagsAreNamed(t *testing.T) {
	_, err := manageroptions.Parse([]string{"--leader-elected"}, none, io.Discard)
	require.ErrorContains(t, err, "leader-elected")
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var help bytes.Buffer
	_, err := manageroptions.Parse([]string{"--help"}, none, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, name := range []string{
		"--kubeconfig", "--namespace", "--namespaces", "--leader-elect", "--health-probe-bind-address", "--metrics-bind-address", "--metrics-secure",
		"--bootstrap-secrets", "--manage-tls", "--resync-interval", "--probe-interval", "--minimum-token-lifetime", "--log-format", "--log-level",
	} {
		require.Contains(t, help.String(), name)
	}
}
