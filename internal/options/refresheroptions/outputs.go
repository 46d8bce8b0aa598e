// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"time"
)

// defaultMinimumLifetime is what a token in a Secret must live, as with an
// AccessToken.
const defaultMinimumLifetime = 10 * time.Minute

// serviceAccountDir is where the kubelet mounts a Pod's ServiceAccount.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Outputs are the outputs beside a directory of files.
type Outputs struct {
	// Secret is the name of the Secret that receives the token; empty for none.
	Secret string
	// SecretNamespace is where it is; empty for the Pod's own namespace.
	SecretNamespace string
	// ServiceAccountDir has the files by which the API server is reached.
	ServiceAccountDir string
	// MinimumLifetime is how long a token must live to be written to a Secret.
	MinimumLifetime time.Duration
	// Serve is the loopback address where GET /token is answered; empty for none.
	Serve string
}

func (o *Outputs) outputFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Secret, "secret", "", "`name` of the Secret the token is written to, instead of files, for Pods that share one")
	flags.StringVar(&o.SecretNamespace, "secret-namespace", "", "`namespace` of that Secret (default: the Pod's own)")
	flags.StringVar(&o.ServiceAccountDir, "service-account-dir", serviceAccountDir,
		"`directory` of token, ca.crt and namespace, by which --secret reaches the API server (default "+serviceAccountDir+")")
	flags.DurationVar(&o.MinimumLifetime, "minimum-lifetime", defaultMinimumLifetime,
		"how long a token must live to be written to a Secret, which takes up to two minutes to reach its readers (default 10m)")
	flags.StringVar(&o.Serve, "serve", "",
		"loopback `address` where GET /token answers with token.json to requests with the header \"X-Connected-Apps: token\", such as 127.0.0.1:8091 (default: none)")
}

// dnsName is what a Secret may be called, and more than a namespace may.
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// problems are all that is wrong with them, given the directory of files, how the
// user writes the name of a flag, and variables.
func (o *Outputs) problems(outputDir string, called, getenv func(string) string) (problems []error) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case outputDir == "" && o.Secret == "" && o.Serve == "":
		add("%s is required: where the token's files are written; or %s, or %s", called("output-dir"), called("secret"), called("serve"))
	case outputDir != "" && o.Secret != "":
		add("%s and %s exclude each other: run a refresher for each", called("output-dir"), called("secret"))
	}
	if o.Secret != "" && !dnsName.MatchString(o.Secret) {
		add("%s %q is not the name of a Secret", called("secret"), o.Secret)
	}
	if o.SecretNamespace != "" && !dnsName.MatchString(o.SecretNamespace) {
		add("%s %q is not the name of a namespace", called("secret-namespace"), o.SecretNamespace)
	}
	if o.SecretNamespace != "" && o.Secret == "" {
		add("%s is of no use without %s", called("secret-namespace"), called("secret"))
	}
	if o.Secret != "" {
		if _, err := os.Stat(o.ServiceAccountDir); err != nil {
			add("%s: %w: the kubelet mounts it unless automountServiceAccountToken is false", called("secret"), err)
		}
	}
	if o.MinimumLifetime < 0 {
		add("%s must not be negative", called("minimum-lifetime"))
	}
	if o.Serve != "" {
		problems = append(problems, serveProblems(called("serve"), o.Serve, getenv)...)
	}
	return problems
}

// serveProblems keeps the token within the Pod. With the network of its node a
// Pod's loopback is that of every such Pod and of the node, so that in a cluster
// the Pod must show that it has a network of its own.
func serveProblems(name, address string, getenv func(string) string) (problems []error) {
	host, _, err := net.SplitHostPort(address)
	switch ip := net.ParseIP(host); {
	case err != nil:
		problems = append(problems, fmt.Errorf("%s must be host:port, such as 127.0.0.1:8091: %w", name, err))
	case ip == nil || !ip.IsLoopback():
		problems = append(problems, fmt.Errorf("%s %s is not a loopback address: the token is for this Pod alone; use 127.0.0.1 or [::1]", name, address))
	}
	pod, node := getenv("POD_IP"), getenv("HOST_IP")
	switch inCluster := getenv("KUBERNETES_SERVICE_HOST") != ""; {
	case inCluster && (pod == "" || node == ""):
		problems = append(problems, fmt.Errorf("%s needs the variables POD_IP and HOST_IP, by which a Pod on its node's network is known: "+
			"set them by fieldRef to status.podIP and status.hostIP", name))
	case inCluster && net.ParseIP(pod).Equal(net.ParseIP(node)):
		problems = append(problems, fmt.Errorf("%s is refused in a Pod with hostNetwork: true (POD_IP and HOST_IP are both %s), "+
			"whose loopback address is the node's: write files instead", name, pod))
	}
	return problems
}
