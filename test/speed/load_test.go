// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connections is how many requests are under way at once.
const connections = 8

// request makes the bytes of one request to address.
func request(address, path, mediaType, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, address, mediaType, len(body), body)
}

// load asks address for a while, on connections that stay open, each with the next of
// requests, and returns how many were answered with 200. Any other answer fails.
func load(t testing.TB, address string, requests [][]byte, during time.Duration) int {
	t.Helper()
	var (
		answered, next atomic.Int64
		stop           atomic.Bool
		group          sync.WaitGroup
	)
	failures := make(chan error, connections)
	for range connections {
		group.Go(func() {
			failures <- ask(address, func() []byte {
				if stop.Load() {
					return nil
				}
				return requests[int(next.Add(1))%len(requests)]
			}, &answered)
		})
	}
	time.AfterFunc(during, func() { stop.Store(true) })
	group.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	return int(answered.Load())
}

// ask sends requests one after the other until next returns nil.
func ask(address string, next func() []byte, answered *atomic.Int64) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	answers := bufio.NewReaderSize(connection, 16<<10)
	for {
		send := next()
		if send == nil {
			return nil
		}
		if _, err := connection.Write(send); err != nil {
			return err
		}
		if err := expect200(answers); err != nil {
			return err
		}
		answered.Add(1)
	}
}

// expect200 reads one answer with as little work as possible: the client must not
// be what is measured.
func expect200(answers *bufio.Reader) error {
	status, err := answers.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200 "))
	first := string(status[:min(len(status), 64)])
	length := 0
	for {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if value, is := bytes.CutPrefix(line, []byte("Content-Length: ")); is {
			for _, digit := range bytes.TrimSpace(value) {
				length = length*10 + int(digit-'0')
			}
		}
	}
	if !ok {
		body := make([]byte, length)
		_, _ = io.ReadFull(answers, body)
		return fmt.Errorf("answered %q: %s", first, body)
	}
	_, err = answers.Discard(length)
	return err
}

// post asks once and returns the body of the 200.
func post(t testing.TB, address string, send []byte) []byte {
	t.Helper()
	body, status := try(address, send)
	require.Equal(t, http.StatusOK, status, "%s", body)
	return body
}

// try asks once; the status is 0 when nothing answered.
func try(address string, send []byte) (body []byte, status int) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = connection.Close() }()
	if _, err = connection.Write(send); err != nil {
		return nil, 0
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err != nil {
		return nil, 0
	}
	return body, response.StatusCode
}
