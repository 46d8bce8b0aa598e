// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"flag"
	"fmt"
	"io"
)

const help = `refresher keeps an OAuth access token fresh in a directory of files.

It reads an app's credentials from a mounted Secret, asks the token endpoint, and
writes

  access-token          the token alone
  token-type            bearer
  expires-at            when it expires, RFC 3339
  token.json            all of it in one document
  id-token              when the server issued one
  authorization-header  the value of the header Authorization
  status.json           whether there is a token, and why there is no newer one

With --secret they are the keys of a Secret that Pods share; with --serve an
application asks for token.json on the Pod's loopback address:

  curl -H 'X-Connected-Apps: token' http://127.0.0.1:8091/token

The files are replaced together, by the kubelet's ..data symlink: open them anew
for each use, or watch the directory, not the file. A new token arrives after
0.55 to 0.75 of the old one's life, and at once when the credentials change.
While the server is away the last token stays until it expires.

Example: credentials of the ConnectedApp "gitproxy", on a workstation

  umask 077; mkdir -p creds
  for key in client-id client-secret token-url ca.crt; do
    kubectl get secret gitproxy-credentials \
      -o go-template="{{with index .data \"$key\"}}{{base64decode .}}{{end}}" > creds/$key
  done
  refresher --credentials-dir=creds --output-dir=token --once
  curl --cacert creds/ca.crt -H "Authorization: Bearer $(cat token/access-token)" \
    https://id.example.com/accounts/api/profile

Without ca.crt, as where the server's certificate is of a public authority, the
system's authorities are trusted; leave --cacert out then.

The client authenticates with the first of these that there is:
  --service-account-token-file or --private-key-file;
  what auth-method of the credentials says;
  client-secret, service-account-token, private-key of the credentials.
The log says which. It asks by the client credentials grant, or with --grant-type
by password (username and password of the credentials) or JWT bearer (subject and
private-key).

Several tokens are kept by --config, whose entries have the flags as members:

  tokens:
  - name: gitproxy
    credentialsDir: /creds/gitproxy
    outputDir: /token/gitproxy
  - name: reports
    issuer: https://id.example.com
    clientID: reports
    privateKeyFile: /creds/reports/tls.key
    outputDir: /token/reports
    mode: "0400"

In a Pod, run it as a native sidecar (an init container with restartPolicy:
Always) whose startup probe is /startupz, so that the application starts with a
token in place; config/components/refresher does that.

Exit status: 0 when stopped by SIGTERM or SIGINT, or when --once wrote its
token; 1 when it did not, or when the output directory cannot be used; 2 for
wrong flags. A flag --output-dir may also be set by the variable
REFRESHER_OUTPUT_DIR, and so on. Neither takes a secret.

Flags:
`

func writeHelp(w io.Writer, flags *flag.FlagSet) {
	_, _ = io.WriteString(w, help)
	flags.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		if kind != "" {
			kind = " " + kind
		}
		_, _ = fmt.Fprintf(w, "  --%s%s\n        %s\n", f.Name, kind, usage)
	})
}
