// Package transcript reads and runs transcripts: text files that say what
// clients send and what they must get back, byte for byte. The same file runs
// against the engine in virtual time and against a running gateway.
//
// A file holds several scripts. Each begins with a title, which names the
// conformance items that the script shows:
//
//	== T048: a second subscription is refused, the first stays
//	app subscription_counting
//	A connect
//	A > {"event":"pusher:subscribe","data":{"channel":"c"}}
//	A < {"event":"pusher_internal:subscription_succeeded","channel":"c","data":"{}"}
//	A subscribe c
//	A < {"event":"pusher:error","data":{"code":null,"message":"Existing subscription to channel c"}}
//	publish c greeting hello
//	A < {"event":"greeting","channel":"c","data":"hello"}
//	sleep 5s
//
// Every line is one step; lines that begin with "#" are comments. A step is
// carried out once the one before has had its whole effect. In a step,
//
//	NAME connect [QUERY]       opens a connection and takes the greeting
//	NAME refused [in-band] [?QUERY|/PATH] CODE REASON
//	                           a connection that is closed instead of greeted;
//	                           in-band: and told so in a frame first
//	NAME > FRAME               sends a frame as it stands
//	NAME < FRAME               the next frame received is exactly that
//	NAME subscribe CHANNEL [CHANNEL_DATA]   sends a signed pusher:subscribe
//	NAME signin USER_DATA      sends a signed pusher:signin
//	NAME joins CHANNEL [CHANNEL_DATA]       subscribe, and pass over the confirmation
//	NAME signs-in USER_DATA    signin, and pass over the confirmation
//	NAME silent                nothing is there to be received
//	NAME pass                  passes over all that is there
//	NAME closed CODE REASON    the server has closed the connection
//	NAME close                 the client closes it
//	publish CHANNELS EVENT DATA [except NAME]   publishes by the HTTP API
//	terminate USER_ID          terminates a user's connections
//	request METHOD PATH [BODY] sends a signed request to the HTTP API
//	answer STATUS BODY         its answer was that; \n is a line end, * anything
//	app [no] SETTING …         changes the app's settings; some have a value: connections=2
//	drain                      the server is about to restart
//	sleep DURATION             lets time pass
//
// At the end of a script every connection must be silent.
//
// In all steps ${NAME} stands for a connection's socket id, and
//
//	${auth NAME CHANNEL [CHANNEL_DATA]}    for an auth with the app's key
//	${user NAME USER_DATA}                 for one of a sign-in
//	${digest NAME CHANNEL [CHANNEL_DATA]}  for the part of auth behind the colon
//	${sign SECRET TEXT}                    for any other signature
//	${json TEXT}                           for the inside of a JSON string
//	${repeat N TEXT}                       for a long text
//	${channels N}                          for the JSON strings "c0" to "cN-1"
package transcript
