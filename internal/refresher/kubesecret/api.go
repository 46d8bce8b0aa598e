// SPDX-License-Identifier: Apache-2.0

package kubesecret

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// ServiceAccountDir is where the kubelet mounts a Pod's ServiceAccount.
	ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	// requestTimeout bounds one request, from connecting to the last byte.
	requestTimeout = 10 * time.Second
	// maxObject bounds what is read of an answer: a Secret has at most 1 MiB, in
	// base64, and its metadata.
	maxObject = 3 << 20
)

// API is the API server as a Pod reaches it. Token and certificates are read
// again for every request, since the kubelet replaces both.
type API struct {
	// URL of the API server, without a path.
	URL string
	// Dir has the files token, ca.crt and namespace.
	Dir string
}

// InCluster is the API server that the kubelet names to a Pod.
func InCluster(getenv func(string) string, dir string) (API, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return API{}, errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: " +
			"a Secret is kept from within a Pod; write files with --output-dir elsewhere")
	}
	return API{URL: "https://" + net.JoinHostPort(host, port), Dir: dir}, nil
}

// Namespace is the Pod's own.
func (a API) Namespace() (string, error) {
	content, err := os.ReadFile(filepath.Join(a.Dir, "namespace"))
	if err != nil {
		return "", fmt.Errorf("reading the Pod's namespace: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// refusal is an answer of the API server that is not a success.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string {
	const longest = 300
	text := fmt.Sprintf("the API server answered %d", r.status)
	switch {
	case r.message == "":
		return text
	case len(r.message) > longest:
		return text + ": " + strings.ToValidUTF8(r.message[:longest], "") + "..."
	}
	return text + ": " + r.message
}

// is reports whether err is a refusal of that status.
func is(err error, status int) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.status == status
}

// do sends one request and decodes the answer, whose status it returns, into
// object.
func (a API) do(ctx context.Context, method, path, contentType string, body, object any) (status int, err error) {
	request, err := a.request(ctx, method, path, contentType, body)
	if err != nil {
		return 0, err
	}
	client, err := a.client()
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, unanswered(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxObject))
	if err != nil {
		return 0, unanswered(err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return response.StatusCode, refused(response.StatusCode, content)
	}
	if err := json.Unmarshal(content, object); err != nil {
		// The decoder's error may quote the content.
		return response.StatusCode, errors.New("the API server answered with something that is not a Secret")
	}
	return response.StatusCode, nil
}

func (a API) request(ctx context.Context, method, path, contentType string, body any) (*http.Request, error) {
	token, err := os.ReadFile(filepath.Join(a.Dir, "token"))
	if err != nil {
		return nil, fmt.Errorf("reading the Pod's ServiceAccount token, which automountServiceAccountToken: true or a projected volume mounts: %w", err)
	}
	var reader io.Reader
	if body != nil {
		content, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding a Secret: %w", err)
		}
		reader = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.URL+path, reader)
	if err != nil {
		return nil, errors.New("the API server's address cannot be requested")
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "connectedapps-refresher")
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return request, nil
}

// client makes a client for one request. It asks no proxy, which has no business
// between a Pod and its API server, and follows no redirect.
func (a API) client() (*http.Client, error) {
	bundle, err := os.ReadFile(filepath.Join(a.Dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the API server's certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("%s holds no PEM certificate", filepath.Join(a.Dir, "ca.crt"))
	}
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			DisableKeepAlives: true, // the next request is half a minute away
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// refused reads the Status that the API server answers with. A text that could
// not be one is left out.
func refused(status int, content []byte) *refusal {
	var answer struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	if json.Unmarshal(content, &answer) != nil || answer.Kind != "Status" {
		return &refusal{status: status}
	}
	return &refusal{status: status, message: strings.ToValidUTF8(answer.Message, "?")}
}

// unanswered words a request without an answer without what differs from one try
// to the next, so that the same trouble is told once.
func unanswered(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return errors.New("the API server does not answer in time")
		}
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		e := *e
		e.Source = nil
		err = &e
	}
	return fmt.Errorf("asking the API server: %w", err)
}
