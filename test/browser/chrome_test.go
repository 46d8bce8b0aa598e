// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chrome is the one browser process of the test binary; every tab gets a
// profile of its own inside it.
var chrome struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chrome.stop != nil {
		chrome.stop()
	}
	os.Exit(code)
}

func startChrome() {
	binary, err := findChrome()
	if err != nil {
		chrome.err = err
		return
	}
	profile, err := os.MkdirTemp("", "browser-test-")
	if err != nil {
		chrome.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.UserDataDir(profile),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, // one test speaks TLS with a certificate of its own
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(allocator)
	chrome.stop = func() {
		_ = chromedp.Cancel(ctx)
		stopBrowser()
		stopAllocator()
		_ = os.RemoveAll(profile)
	}
	chrome.ctx, chrome.err = ctx, chromedp.Do(ctx)
}

func findChrome() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("google-chrome")
	}
	return path, err
}

// screen is how a page is looked at.
type screen struct {
	name          string
	width, height int64
	phone         bool
	scheme        string
}

var (
	desktopLight = screen{name: "desktop-light", width: 880, height: 640, scheme: "light"}
	desktopDark  = screen{name: "desktop-dark", width: 880, height: 640, scheme: "dark"}
	phoneLight   = screen{name: "phone-light", width: 390, height: 844, phone: true, scheme: "light"}
	phoneDark    = screen{name: "phone-dark", width: 390, height: 844, phone: true, scheme: "dark"}
	screens      = []screen{desktopLight, desktopDark, phoneLight, phoneDark}
)

// tab is one page in a profile of its own. It remembers what the console said.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// newTab opens a tab and fails the test at its end when the console showed an
// error or the browser reported a violation of the page's policy.
func newTab(t *testing.T, s screen) *tab {
	t.Helper()
	chrome.once.Do(startChrome)
	require.NoError(t, chrome.err, "starting Chromium (set CHROMIUM to its path)")
	ctx, closeTab := chromedp.NewContext(chrome.ctx, chromedp.WithNewBrowserContext())
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		closeTab()
		assert.Empty(t, b.seen(), "the browser's console stays silent")
	})
	require.NoError(t, chromedp.Do(ctx), "opening a tab")
	require.NoError(t, chromedp.Listen(ctx, b.listen))
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride,
		emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s.phone})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: s.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, cdplog.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

func (b *tab) listen(event any) {
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			b.note(string(e.Entry.Source) + ": " + e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		b.note("exception: " + e.ExceptionDetails.Text)
	}
}

func (b *tab) note(problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, problem)
}

func (b *tab) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.problems...)
}

// forget drops what the console said so far: a page that answers 4xx is noted
// by the browser itself as a failed resource.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = nil
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// evaluate returns the value of a JavaScript expression, beside the page's
// policy, which forbids scripts.
func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	return value
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url))
}

// text is what the page's body says.
func (b *tab) text() string {
	b.t.Helper()
	return evaluate[string](b, `document.body.innerText`)
}

func (b *tab) url() string {
	b.t.Helper()
	return evaluate[string](b, `location.href`)
}

// fill types into the field with that id.
func (b *tab) fill(id, value string) {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](`document.getElementById("`+id+`").value = ""`), chromedp.SendKeys(chromedp.CSS("#"+id), value))
}

// press clicks the button or link with that visible text and waits for the page
// it leads to.
func (b *tab) press(label string) {
	b.t.Helper()
	xpath := `//button[normalize-space()="` + label + `"] | //a[normalize-space()="` + label + `"]`
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, chromedp.Click(xpath))
	require.NoError(b.t, err, "pressing %q on %s", label, b.url())
}

// picture is the whole page as PNG.
func (b *tab) picture() []byte {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	return png
}

// moduleRoot is the folder of go.mod, two above this package.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	return root
}
