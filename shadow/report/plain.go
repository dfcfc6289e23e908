package report

import (
	"fmt"
	"strings"
	"time"
)

// plainWords are what a gate is about and what to do when it does not pass, for
// somebody who reads the report and nothing else.
type plainWords struct{ title, advice string }

// plain returns a gate's words. A gate of another version has its name only.
func plain(gate string) plainWords {
	if w, known := gateWords[gate]; known {
		return w
	}
	return plainWords{title: gate}
}

var gateWords = map[string]plainWords{
	gateDecisions:   {"Access decided differently", "Somebody would be let in or shut out. Compare keys, secrets and limits of both sides."},
	gateLoss:        {"Events are lost", "Look at the exhibits: do losses share a channel, a time, a size? Then play one against the candidate."},
	gatePayload:     {"Payloads are altered", "See which parts differ. What is meant to differ can be accepted by an ignore rule."},
	gateDuplicate:   {"Events arrive twice", "Look for retries without deduplication on the way to the candidate."},
	gateReorder:     {"Events arrive out of order", "Look for parallel delivery on one channel of the candidate."},
	gateExtra:       {"Events only the candidate sends", "Find out who else publishes there."},
	gateRejected:    {"Events are refused", "Raise the candidate's limits for size and rate, or send it less."},
	gatePresence:    {"Member lists differ", "Look whether joins or leaves are missed, and after what."},
	gateWebhooks:    {"Webhooks differ", "Look which type is missing or surplus; your servers would miss it or act on it."},
	gateStructures:  {"Frames are built differently", "Test with the client library named here: it may not read them."},
	gateLatency:     {"Events arrive later", "Look where the candidate stands, and how loaded it is."},
	gateUnknown:     {"Too much could not be compared", "Find out what interrupted the observation: restarts, overload, clients that come and go."},
	gatePublishPath: {"Publishers bypass the gateway", "Point these servers at the gateway: what they publish cannot be judged."},
	gateClients:     {"Clients bypass the gateway", "Move these clients to the gateway's address."},
	gateShed:        {"The comparison dropped records", "Give the gateway more CPU, or sample fewer channels."},
	gateObserve:     {"Watched for too short a time", ""},
	gateCheckpoints: {"Has to hold for longer", ""},
	gateEvidence:    {"Nothing seen yet", "Send traffic through the gateway at stage shadow or later."},
}

func gateTitle(gate string) string  { return plain(gate).title }
func gateAdvice(gate string) string { return plain(gate).advice }

// openTitle returns the title of gates that are open for the same reason. It
// blames nobody.
func openTitle(gates string) string {
	switch gates {
	case gateObserve, gateCheckpoints, gateEvidence, gateShed:
		return plain(gates).title
	default:
		return "Too little seen to judge: " + strings.ReplaceAll(gates, "_", " ")
	}
}

// earliest says when all open gates can have what they need, if traffic goes on
// as it did: the latest of them, as they fill at the same time. It is empty
// where nobody can say.
func earliest(r *Report) string {
	var longest time.Duration
	for _, x := range r.Verdict.Insufficient {
		wait, known := parseISODuration(x.ETA)
		if !known {
			return ""
		}
		longest = max(longest, wait)
	}
	if longest == 0 || r.Run.To.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s UTC, after %s more", r.Run.To.Add(longest).UTC().Format("2 Jan 2006 15:04"), span(longest))
}

// parseISODuration reads what isoDuration writes.
func parseISODuration(text string) (d time.Duration, ok bool) {
	if len(text) < 2 || text[0] != 'P' {
		return 0, false
	}
	inTime, n, digits := false, time.Duration(0), false
	for _, c := range text[1:] {
		unit := time.Duration(0)
		switch {
		case c >= '0' && c <= '9':
			n, digits = min(10*n+time.Duration(c-'0'), 1e6), true
			continue
		case c == 'T' && !inTime && !digits:
			inTime = true
			continue
		case c == 'D' && !inTime:
			unit = 24 * time.Hour
		case c == 'H' && inTime:
			unit = time.Hour
		case c == 'M' && inTime:
			unit = time.Minute
		case c == 'S' && inTime:
			unit = time.Second
		}
		if unit == 0 || !digits {
			return 0, false
		}
		d, n, digits = d+min(n, 1e5)*unit, 0, false
	}
	return d, !digits
}

// cited reports whether a reason leads to an exhibit.
func (r *Report) cited(id string) bool {
	for _, x := range r.Verdict.Reasons {
		for _, cited := range x.Exhibits {
			if cited == id {
				return true
			}
		}
	}
	return false
}
