// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"flag"
	"fmt"
	"io"
)

const help = `refresher keeps an OAuth access token fresh in a directory of files.

It reads an app's credentials from a mounted Secret, asks the token endpoint by
the client credentials grant, and writes

  access-token   the token alone
  token-type     bearer
  expires-at     when it expires, RFC 3339
  token.json     all of it in one document
  id-token       when the server issued one

With --secret they are the keys of a Secret that Pods share; with --serve an
application asks for token.json on the Pod's loopback address:

  curl -H 'X-Connected-Apps: token' http://127.0.0.1:8091/token

The files are replaced together, by the kubelet's ..data symlink: open them anew
for each use, or watch the directory, not the file. A new token arrives after
0.55 to 0.75 of the old one's life. While the server is away the last token
stays; --health-listen tells when it has expired.

Example: credentials of the ConnectedApp "gitproxy", on a workstation

  umask 077; mkdir -p creds
  for key in client-id client-secret token-url; do
    kubectl get secret gitproxy-credentials -o go-template="{{index .data \"$key\" | base64decode}}" > creds/$key
  done
  refresher --credentials-dir=creds --output-dir=token --once
  curl -H "Authorization: Bearer $(cat token/access-token)" https://id.example.com/accounts/api/profile

In a Pod, run it as a native sidecar (an init container with restartPolicy:
Always) whose startup probe is /startupz, so that the application starts with a
token in place; config/components/refresher does that.

Exit status: 0 when stopped by SIGTERM or SIGINT, or when --once wrote its
token; 1 when it did not; 2 for wrong flags. A flag --output-dir may also be set
by the variable REFRESHER_OUTPUT_DIR, and so on. Neither takes a secret.

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
