package route

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/offramp/offramp/proxy"
)

// FuzzReadRecords: what is taken as records can be written again, is in
// order, and puts an app where a configuration could.
func FuzzReadRecords(f *testing.F) {
	f.Add([]byte(`{"seq":1,"at":"2026-01-01T00:00:00Z","who":"a","app":"1","from":{"stage":"observe"},"to":{"stage":"shadow"}}`), []byte(nil))
	f.Add([]byte(`{"seq":1,"who":"a","app":"1","from":{"stage":"observe"},"to":{"stage":"canary","percent":5,"by":"user"},"holds":[{"state":{"stage":"canary","percent":5},"seq":1,"configured":{"stage":"observe"}}]}`),
		[]byte(`{"seq":2,"who":"<a>","undoes":1,"app":"1","from":{"stage":"canary"},"to":{"stage":"observe"},"new":true}`))
	f.Add([]byte(`{"holds":[{}]}`), []byte("null"))
	app := &proxy.App{ID: "1", Stage: proxy.StageObserve}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		texts := [][]byte{first}
		if len(second) > 0 {
			texts = append(texts, second)
		}
		records, err := readRecords("1", texts)
		if err != nil {
			return
		}
		for i, r := range records {
			if r.Seq != records[0].Seq+uint64(i) || r.App != "1" {
				t.Errorf("record %d is %d of app %q", i, r.Seq, r.App)
			}
			again, err := newRecord(r.Entry, r.Holds)
			if err != nil && len(r.text) < maxRecordBytes/6 { // escapes may make it longer
				t.Errorf("it cannot be written: %v", err)
			}
			was, _ := json.Marshal(r)
			if err == nil && !bytes.Equal(again.text, was) {
				t.Errorf("it was %s, and is %s", was, again.text)
			}
		}
		p := position(app, lastOf(records).Holds)
		for _, rule := range append(p.Rules, proxy.Rule{Stage: p.Stage}) {
			if rule.Stage < proxy.StageObserve || rule.Stage > proxy.StageExited || rule.Percent < 0 || rule.Percent > 100 {
				t.Errorf("channels %q at stage %d, %d percent", rule.Channels, rule.Stage, rule.Percent)
			}
		}
	})
}
