// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Problem is what is wrong with a field of the options, called as in YAML.
type Problem struct {
	Field string
	Err   error
}

type problems []Problem

func (p *problems) add(field string, err error) {
	if err != nil {
		*p = append(*p, Problem{field, err})
	}
}

// Validate returns all that is wrong, but for the files.
func (o *Options) Validate() []Problem {
	var p problems
	if o.Endpoint == "" {
		if o.HeadersFile != "" || o.CAFile != "" {
			p.add("endpoint", errors.New("is missing, so that no spans are sent: set it, or leave out the other settings"))
		}
		return p
	}
	p.add("endpoint", checkEndpoint(o.Endpoint))
	if !(o.SampleRatio >= 0 && o.SampleRatio <= 1) { // NaN is neither
		p.add("sampleRatio", fmt.Errorf("must be a number from 0 to 1, not %v", o.SampleRatio))
	}
	return p
}

// ValidateFiles returns what is wrong with the files.
func (o *Options) ValidateFiles() []Problem {
	var p problems
	_, err := readHeaders(o.HeadersFile)
	p.add("headersFile", err)
	_, err = readCA(o.CAFile)
	p.add("caFile", err)
	return p
}

func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be the URL of a collector, such as http://collector.observability:4318")
	case u.User != nil:
		return errors.New("must have no password in it: put what authenticates into headersFile")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("must have no query and no fragment")
	}
	return nil
}

// readHeaders reads lines NAME: VALUE. The error does not quote the file.
func readHeaders(file string) (http.Header, error) {
	headers := http.Header{}
	if file == "" {
		return headers, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !found || !headerName(name) || strings.ContainsFunc(value, isControl) {
			return nil, fmt.Errorf("%s: line %d is not NAME: VALUE", file, number)
		}
		headers.Add(name, value)
	}
	return headers, lines.Err()
}

// headerName tells whether a field may be called so (RFC 9110 section 5.1).
func headerName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isControl tells what no value may have (RFC 9110 section 5.5).
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// readCA reads certificates; nil: the system's.
func readCA(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}
