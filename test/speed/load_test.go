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

// connections is how many requests are under way at once when nothing else is said.
const connections = 8

// asking is what one connection asks: the next request, and what it makes of the
// answer's body.
type asking struct {
	next     func() []byte
	answered func(body []byte) error
}

// asked gives each of so many connections what it asks.
type asked func(connection, of int) asking

// inTurn asks requests one after the other, and takes every answer of 200.
func inTurn(requests [][]byte) asked {
	var next atomic.Int64
	return func(int, int) asking {
		return asking{
			next:     func() []byte { return requests[int(next.Add(1))%len(requests)] },
			answered: func([]byte) error { return nil },
		}
	}
}

// request makes the bytes of one request to address.
func request(address, path, mediaType, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, address, mediaType, len(body), body)
}

// load asks address for a while, on connections that stay open, and returns how many
// were answered with 200. Any other answer fails.
func load(t testing.TB, address string, what asked, of int, during time.Duration) int {
	t.Helper()
	var (
		answered atomic.Int64
		stop     atomic.Bool
		group    sync.WaitGroup
	)
	failures := make(chan error, of)
	for connection := range of {
		group.Go(func() { failures <- ask(address, what(connection, of), &stop, &answered) })
	}
	time.AfterFunc(during, func() { stop.Store(true) })
	group.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	return int(answered.Load())
}

// ask sends requests one after the other until stop.
func ask(address string, a asking, stop *atomic.Bool, answered *atomic.Int64) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	answers := bufio.NewReaderSize(connection, 16<<10)
	var body []byte
	for !stop.Load() {
		if _, err := connection.Write(a.next()); err != nil {
			return err
		}
		if body, err = expect200(answers, body); err != nil {
			return err
		}
		if err := a.answered(body); err != nil {
			return err
		}
		answered.Add(1)
	}
	return nil
}

// expect200 reads one answer with as little work as possible: the client must not
// be what is measured. The body is read into into.
func expect200(answers *bufio.Reader, into []byte) ([]byte, error) {
	status, err := answers.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200 "))
	first := string(status[:min(len(status), 64)])
	length := 0
	for {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			return nil, err
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
	if cap(into) < length {
		into = make([]byte, length)
	}
	into = into[:length]
	if _, err := io.ReadFull(answers, into); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("answered %q: %s", first, into)
	}
	return into, nil
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
