// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
)

// prometheus is a real one.
type prometheus struct {
	address string
	began   time.Time
}

// interval is that of scrapes and of rules.
const interval = 500 * time.Millisecond

// jobs are those of docs/monitoring.md, for a Prometheus that does not run in a Pod.
func jobs(t *testing.T, folder string) []map[string]any {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "monitoring.md"))
	require.NoError(t, err)
	_, block, found := strings.Cut(string(page), "```yaml\nscrape_configs:\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	var all []map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(block), &all))
	require.Len(t, all, 3)
	for _, job := range all {
		if authorization, ok := job["authorization"].(map[string]any); ok {
			authorization["credentials_file"] = filepath.Join(folder, "token")
		}
		for _, discovery := range job["kubernetes_sd_configs"].([]any) {
			discovery.(map[string]any)["kubeconfig_file"] = filepath.Join(folder, "kubeconfig")
		}
	}
	return all
}

// startPrometheus starts one that finds Pods, with our alerts.
func startPrometheus(t *testing.T, token, kubeStateMetrics string) *prometheus {
	t.Helper()
	folder := write(t, map[string]string{"token": token, "kubeconfig": string(plane.Kubeconfig())})
	configuration, err := yaml.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": interval.String(), "scrape_timeout": interval.String(), "evaluation_interval": interval.String()},
		"rule_files": []string{rulesPath},
		"scrape_configs": append(jobs(t, folder), map[string]any{
			"job_name": "kube-state-metrics", "honor_labels": true, "static_configs": []any{map[string]any{"targets": []string{kubeStateMetrics}}},
		}),
	})
	require.NoError(t, err)
	file := filepath.Join(folder, "prometheus.yaml")
	require.NoError(t, os.WriteFile(file, configuration, 0o600))
	p := &prometheus{began: time.Now()}
	process := program.Start(t, executable(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address=127.0.0.1:0")
	listening := regexp.MustCompile(`msg="Listening on" .*address=(\S+)`)
	testenv.Eventually(t, func(r *require.Assertions) {
		found := listening.FindStringSubmatch(process.Output())
		r.NotNil(found, process.Output())
		p.address = found[1]
	})
	testenv.Eventually(t, func(r *require.Assertions) { r.NoError(p.get(t, "/-/ready", nil, nil)) })
	return p
}

// get asks the HTTP API. An answer with a warning is an error as well.
func (p *prometheus) get(t testing.TB, path string, parameters url.Values, into any) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.address+path+"?"+parameters.Encode(), http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if into == nil {
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, response.Status)
		}
		return nil
	}
	var answer struct {
		Error    string          `json:"error"`
		Warnings []string        `json:"warnings"`
		Infos    []string        `json:"infos"`
		Data     json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if answer.Error != "" || len(answer.Warnings)+len(answer.Infos) > 0 {
		return fmt.Errorf("%s %q: %s %q %q", path, parameters, answer.Error, answer.Warnings, answer.Infos)
	}
	return json.Unmarshal(answer.Data, into)
}

// series is what a query has for one set of labels.
type series struct {
	Metric map[string]string `json:"metric"`
	Values []sample          `json:"values"`
}

// sample is a number at a time.
type sample struct {
	at    time.Time
	value float64
}

// UnmarshalJSON reads [seconds, "number"].
func (s *sample) UnmarshalJSON(text []byte) error {
	var pair [2]any
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	seconds, _ := pair[0].(float64)
	s.at = time.UnixMilli(int64(seconds * 1000))
	number, _ := pair[1].(string)
	var err error
	s.value, err = strconv.ParseFloat(number, 64)
	return err
}

// since is what a query gives from a time to now, as a graph asks for it.
func (p *prometheus) since(t testing.TB, began time.Time, step time.Duration, query string) ([]series, error) {
	t.Helper()
	var data struct {
		Result []series `json:"result"`
	}
	err := p.get(t, "/api/v1/query_range", url.Values{
		"query": {query}, "start": {seconds(began)}, "end": {seconds(time.Now())}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}, &data)
	return data.Result, err
}

func seconds(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}

// values of a label of the series that a selector finds.
func (p *prometheus) values(t testing.TB, label, selector string) []string {
	t.Helper()
	var values []string
	require.NoError(t, p.get(t, "/api/v1/label/"+label+"/values", url.Values{"match[]": {selector}, "start": {seconds(p.began)}}, &values))
	return values
}

// node of a query that Prometheus has parsed.
type node map[string]any

// selectors are the vector selectors in a query.
func (p *prometheus) selectors(t testing.TB, query string) []string {
	t.Helper()
	var tree node
	require.NoError(t, p.get(t, "/api/v1/parse_query", url.Values{"query": {query}}, &tree))
	var found []string
	tree.walk(func(n node) {
		if kind := n["type"]; kind == "vectorSelector" || kind == "matrixSelector" {
			found = append(found, n.selector())
		}
	})
	return found
}

func (n node) walk(visit func(node)) {
	visit(n)
	for _, member := range n {
		switch below := member.(type) {
		case map[string]any:
			node(below).walk(visit)
		case []any:
			for _, one := range below {
				if below, ok := one.(map[string]any); ok {
					node(below).walk(visit)
				}
			}
		}
	}
}

// selector as it is written.
func (n node) selector() string {
	var matchers []string
	list, _ := n["matchers"].([]any)
	for _, one := range list {
		m, _ := one.(map[string]any)
		matchers = append(matchers, fmt.Sprintf("%s%s%q", m["name"], m["type"], m["value"]))
	}
	return "{" + strings.Join(matchers, ",") + "}"
}
