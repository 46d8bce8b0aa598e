// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/test/report"
)

// attempts is how many passwords are tried in a second, each for another name; a core
// checks a few dozen.
const attempts = 200

// BenchmarkFlood: what others get while somebody tries passwords.
func BenchmarkFlood(b *testing.B) {
	once(b, func() {
		i := newInstallation(b, onSQLite())
		p := i.start(b)
		defer p.stop()
		apps := register(b, p, i.admin, ofApps, forThemselves(""))
		others := side{server: p, asked: inTurn(forms(p, apps))}
		others.measure(b)
		before := p.peak(b)
		var calm, flooded []sample
		for n := range pairs(b) {
			report.Progress(b, "password flood: %d of %d", n+1, pairs(b))
			calm = append(calm, others.measure(b))
			end := flood(b, p.address)
			flooded = append(flooded, others.measure(b))
			end()
		}
		report.Add(b, report.Row{
			Name:  fmt.Sprintf("client_credentials while %d passwords are tried in a second, to without", attempts),
			Value: ratio(flooded, calm, rate), Goal: report.AtLeast(0.5),
			Note: fmt.Sprintf("%.0f/s to %.0f/s", typical(flooded).rate, typical(calm).rate),
		})
		report.Add(b, report.Row{
			Name: "most memory meanwhile", Value: p.peak(b), Unit: "MiB", Goal: report.Without(report.Lower),
			Note: fmt.Sprintf("%.0f MiB before", before),
		})
	})
}

var tried atomic.Int64

// flood tries passwords until end is called.
func flood(t testing.TB, address string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ticker := time.NewTicker(time.Second / attempts)
	failures := make(chan error, maxConnections)
	var workers sync.WaitGroup
	for range maxConnections {
		workers.Go(func() { failures <- tryPasswords(ctx, address, ticker.C) })
	}
	return func() {
		cancel()
		workers.Wait()
		ticker.Stop()
		for range maxConnections {
			require.NoError(t, <-failures)
		}
	}
}

// tryPasswords tries one for each tick. Every answer but a failure of the server will
// do.
func tryPasswords(ctx context.Context, address string, ticks <-chan time.Time) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	answers := bufio.NewReader(connection)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		body := fmt.Sprintf(`{"username":"nobody-%d","password":"wrong"}`, tried.Add(1))
		if _, err := connection.Write(request(address, "/accounts/login", jsonObject, body)); err != nil {
			return err
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil {
			return err
		}
		switch response.StatusCode {
		case http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		default:
			return fmt.Errorf("a wrong password was answered %s", response.Status)
		}
	}
}
