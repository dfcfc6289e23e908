package pusher_test
import ("testing";"context";"fmt";"github.com/offramp/offramp/translators";"github.com/offramp/offramp/translators/pusher";"github.com/offramp/offramp/proxy";"github.com/rs/zerolog";"os";pusherhttp "github.com/pusher/pusher-http-go/v5";"net/http";"net/http/httputil";"github.com/offramp/offramp/integration/harness")
type rt struct{}
func (rt) RoundTrip(r *http.Request)(*http.Response,error){ resp,err:=http.DefaultTransport.RoundTrip(r); if err==nil {b,_:=httputil.DumpResponse(resp,true);fmt.Printf("%s\n",b)}; return resp,err}
func TestZZ(t *testing.T){
 p:=soketi(t)
 c:=pusherhttp.Client{AppID:harness.AppID,Key:harness.Key,Secret:harness.Secret,Host:p.addr,HTTPClient:&http.Client{Transport:rt{}}}
 fmt.Println(c.TriggerBatch([]pusherhttp.Event{{Channel:"c",Name:"n",Data:""}}))
 fmt.Println(c.TriggerBatch([]pusherhttp.Event{{Channel:"c",Name:"n",Data:"1"}}))
 s,err:=pusher.New().Open(context.Background(),translators.Binding{App:"x",Role:proxy.RoleShadow,Settings:p.settings(),Log:zerolog.New(os.Stderr)})
 if err!=nil{t.Fatal(err)}
 fmt.Println(s.Publish(context.Background(),[]translators.Envelope{{Channel:"c",Event:"e",Data:nil},{Channel:"c",Event:"e",Data:[]byte("x")}}))
 s.Close(context.Background())
}
