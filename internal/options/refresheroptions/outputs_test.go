// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOutputsAreChecked(t *testing.T) {
	creds, account := t.TempDir(), t.TempDir()
	inPod := map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1", "POD_IP": "10.0.0.7", "HOST_IP": "192.168.0.3"}
	onNode := map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1", "POD_IP": "fd00::3", "HOST_IP": "fd00:0:0::3"}
	unknown := map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1", "POD_IP": "10.0.0.7"}
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		want string // empty: nothing is wrong
	}{
		"a Secret":                       {[]string{"--secret=app-token"}, nil, ""},
		"a Secret elsewhere":             {[]string{"--secret=app-token", "--secret-namespace=payments"}, nil, ""},
		"the endpoint alone":             {[]string{"--serve=127.0.0.1:8091"}, inPod, ""},
		"the endpoint, IPv6":             {[]string{"--serve=[::1]:8091"}, inPod, ""},
		"the endpoint beside files":      {[]string{"--serve=127.0.0.1:8091", "--output-dir=/out"}, inPod, ""},
		"the endpoint beside a Secret":   {[]string{"--serve=127.0.0.1:8091", "--secret=app-token"}, inPod, ""},
		"the endpoint on a workstation":  {[]string{"--serve=127.0.0.1:8091"}, nil, ""},
		"nothing":                        {nil, nil, "--output-dir is required: where the token's files are written; or --secret, or --serve"},
		"files and a Secret":             {[]string{"--secret=app-token", "--output-dir=/out"}, nil, "--output-dir and --secret exclude each other"},
		"a Secret of no name":            {[]string{"--secret=ns/app"}, nil, `--secret "ns/app" is not the name of a Secret`},
		"a namespace of no name":         {[]string{"--secret=app", "--secret-namespace=../x"}, nil, `--secret-namespace "../x" is not the name of a namespace`},
		"a namespace alone":              {[]string{"--output-dir=/out", "--secret-namespace=x"}, nil, "--secret-namespace is of no use without --secret"},
		"a Secret without an account":    {[]string{"--secret=app", "--service-account-dir=/no/such"}, nil, "the kubelet mounts it unless automountServiceAccountToken is false"},
		"a negative life":                {[]string{"--secret=app", "--minimum-lifetime=-1s"}, nil, "--minimum-lifetime must not be negative"},
		"every address":                  {[]string{"--serve=:8091"}, inPod, "--serve :8091 is not a loopback address: the token is for this Pod alone"},
		"any address":                    {[]string{"--serve=0.0.0.0:8091"}, inPod, "is not a loopback address"},
		"the Pod's address":              {[]string{"--serve=10.0.0.7:8091"}, inPod, "is not a loopback address"},
		"a name, which may be another's": {[]string{"--serve=localhost:8091"}, inPod, "is not a loopback address"},
		"no port":                        {[]string{"--serve=127.0.0.1"}, inPod, "--serve must be host:port, such as 127.0.0.1:8091"},
		"the node's network":             {[]string{"--serve=127.0.0.1:8091"}, onNode, "--serve is refused in a Pod with hostNetwork: true (POD_IP and HOST_IP are both fd00::3)"},
		"an unknown network":             {[]string{"--serve=127.0.0.1:8091"}, unknown, "--serve needs the variables POD_IP and HOST_IP"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--credentials-dir=" + creds, "--service-account-dir=" + account}, test.args...)
			_, err := Parse(args, func(n string) string { return test.env[n] }, nil)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}
