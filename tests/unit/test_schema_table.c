#include "base/clock.h"
#include "schema_util.h"

#include "api/schema/table.h"

static const struct {
	int64_t seconds;
	const char *want;
} ages[] = {
	{-5, "<invalid>"}, {-1, "0s"},	     {0, "0s"},		 {119, "119s"},
	{120, "2m"},	   {125, "2m5s"},    {599, "9m59s"},	 {600, "10m"},
	{10799, "179m"},   {10800, "3h"},    {10860, "3h1m"},	 {28799, "7h59m"},
	{28800, "8h"},	   {172799, "47h"},  {172800, "2d"},	 {176400, "2d1h"},
	{691200, "8d"},	   {63072000, "2y"}, {63158400, "2y1d"}, {252288000, "8y"},
};

Test(table, ages)
{
	char buf[UM_DURATION_LEN];

	for (size_t i = 0; i < UM_ARRAY_LEN(ages); i++) {
		um_sduration(ages[i].seconds * UM_NSEC_PER_SEC, buf);
		cr_expect_str_eq(buf, ages[i].want);
	}
}

#define NOW "2026-01-01T01:00:00Z"
#define META "'metadata':{'name':'n','creationTimestamp':'2026-01-01T00:58:00Z'}"
#define SPEC "'spec':{'nodeName':'w','containers':[{'name':'a'},{'name':'b'}]}"
#define INIT "'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i'},{'name':'j'}]}"

#define TEMPLATE                                                                                   \
	"'template':{'spec':{'containers':[{'name':'a','image':'x'},{'name':'b','image':'y:1'}]}}"

static const char *const rows[][3] = {
	{"Pod", "{" META "," SPEC ",'status':{'phase':'Pending'}}",
	 "['n','0/2','Pending','0','2m','<none>','w','<none>','<none>']"},
	{"Pod",
	 "{" META "," SPEC ",'status':{'phase':'Running','podIPs':[{'ip':'10.0.0.1'}],"
	 "'containerStatuses':[{'ready':true,'restartCount':1,'state':{'running':{}},'lastState':{"
	 "'terminated':{'finishedAt':'2026-01-01T00:59:00Z'}}},{'ready':false,'restartCount':2,"
	 "'state':{'running':{}}}]}}",
	 "['n','1/2','Running','3 (60s ago)','2m','10.0.0.1','w','<none>','<none>']"},
	{"Pod",
	 "{" META "," SPEC ",'status':{'phase':'Running','containerStatuses':[{'state':{'waiting':{"
	 "'reason':'CrashLoopBackOff'}}},{'state':{'waiting':{'reason':'ErrImagePull'}}}]}}",
	 "['n','0/2','CrashLoopBackOff','0','2m','<none>','w','<none>','<none>']"},
	{"Pod",
	 "{" META "," SPEC
	 ",'status':{'phase':'Failed','containerStatuses':[{'state':{'terminated':"
	 "{'exitCode':3}}},{'state':{'terminated':{'signal':9,'exitCode':137}}}]}}",
	 "['n','0/2','ExitCode:3','0','2m','<none>','w','<none>','<none>']"},
	{"Pod",
	 "{" META "," SPEC ",'status':{'phase':'Running','conditions':[{'type':'Ready','status':"
	 "'True'}],'containerStatuses':[{'state':{'terminated':{'reason':'Completed'}}},{'ready':"
	 "true,'state':{'running':{}}}]}}",
	 "['n','1/2','Running','0','2m','<none>','w','<none>','<none>']"},
	{"Pod",
	 "{" META "," INIT ",'status':{'phase':'Pending','initContainerStatuses':[{'state':{"
	 "'terminated':{'exitCode':0}}},{'state':{'running':{}}}]}}",
	 "['n','0/1','Init:1/2','0','2m','<none>','<none>','<none>','<none>']"},
	{"Pod",
	 "{" META "," INIT ",'status':{'phase':'Pending','initContainerStatuses':[{"
	 "'restartCount':4,'state':{'waiting':{'reason':'CrashLoopBackOff'}}}]}}",
	 "['n','0/1','Init:CrashLoopBackOff','4','2m','<none>','<none>','<none>','<none>']"},
	{"Pod",
	 "{" META "," INIT ",'status':{'phase':'Failed','initContainerStatuses':[{'state':{"
	 "'terminated':{'exitCode':1}}}]}}",
	 "['n','0/1','Init:ExitCode:1','0','2m','<none>','<none>','<none>','<none>']"},
	{"Pod",
	 "{" META "," INIT ",'status':{'phase':'Pending','initContainerStatuses':[{'state':{"
	 "'waiting':{'reason':'PodInitializing'}}}]}}",
	 "['n','0/1','Init:0/2','0','2m','<none>','<none>','<none>','<none>']"},
	{"Pod",
	 "{'metadata':{'name':'n','deletionTimestamp':'" NOW "'}," SPEC ",'status':{'phase':"
	 "'Running'}}",
	 "['n','0/2','Terminating','0','<unknown>','<none>','w','<none>','<none>']"},
	{"Pod",
	 "{'metadata':{'name':'n','deletionTimestamp':'" NOW "'}," SPEC ",'status':{'phase':"
	 "'Failed','reason':'Evicted'}}",
	 "['n','0/2','Evicted','0','<unknown>','<none>','w','<none>','<none>']"},
	{"Pod",
	 "{" META "," SPEC ",'status':{'phase':'Pending','conditions':[{'type':'PodScheduled',"
	 "'reason':'SchedulingGated'}]}}",
	 "['n','0/2','SchedulingGated','0','2m','<none>','w','<none>','<none>']"},
	{"Node",
	 "{'metadata':{'name':'n','labels':{'node-role.kubernetes.io/worker':'','"
	 "node-role.kubernetes.io/control-plane':''}},'spec':{'unschedulable':true},'status':{"
	 "'conditions':[{'type':'Ready','status':'True'}],'addresses':[{'type':'InternalIP',"
	 "'address':'1.2.3.4'}],'nodeInfo':{'kubeletVersion':'v1','osImage':'Debian'}}}",
	 "['n','Ready,SchedulingDisabled','control-plane,worker','<unknown>','v1','1.2.3.4','<none>"
	 "',"
	 "'Debian','<unknown>','<unknown>']"},
	{"Node", "{" META ",'status':{'conditions':[{'type':'Ready','status':'Unknown'}]}}",
	 "['n','NotReady','<none>','2m','','<none>','<none>','<unknown>','<unknown>','<unknown>']"},
	{"Namespace", "{" META ",'status':{'phase':'Active'}}", "['n','Active','2m']"},
	{"ConfigMap", "{" META ",'data':{'a':'','b':''},'binaryData':{'c':''}}", "['n',3,'2m']"},
	{"Secret", "{" META ",'type':'Opaque','data':{'a':''}}", "['n','Opaque',1,'2m']"},
	{"Service",
	 "{" META ",'spec':{'type':'NodePort','clusterIP':'10.0.0.1','selector':{'b':'2','a':'1'},"
	 "'ports':[{'port':80,'nodePort':30080,'protocol':'TCP'},{'port':53,'protocol':'UDP'}]}}",
	 "['n','NodePort','10.0.0.1','<none>','80:30080/TCP,53/UDP','2m','a=1,b=2']"},
	{"Service", "{" META ",'spec':{'type':'ClusterIP','clusterIP':'None'}}",
	 "['n','ClusterIP','None','<none>','<none>','2m','<none>']"},
	{"Service", "{" META ",'spec':{'type':'ExternalName','externalName':'a.b'}}",
	 "['n','ExternalName','<none>','a.b','<none>','2m','<none>']"},
	{"Service", "{" META ",'spec':{'type':'LoadBalancer','clusterIP':'10.0.0.1'}}",
	 "['n','LoadBalancer','10.0.0.1','<pending>','<none>','2m','<none>']"},
	{"Service",
	 "{" META
	 ",'spec':{'type':'LoadBalancer','clusterIP':'10.0.0.1'},'status':{'loadBalancer':{"
	 "'ingress':[{'ip':'1.2.3.4'},{'hostname':'h'}]}}}",
	 "['n','LoadBalancer','10.0.0.1','1.2.3.4,h','<none>','2m','<none>']"},
	{"ServiceAccount", "{" META "}", "['n','2m']"},
	{"Endpoints", "{" META "}", "['n','<none>','2m']"},
	{"Endpoints",
	 "{" META ",'subsets':[{'addresses':[{'ip':'10.0.0.1'},{'ip':'fd00::1'}],'ports':[{'port':"
	 "80},{'port':81}]},{'addresses':[{'ip':'10.0.0.3'}]}]}",
	 "['n','10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 2 more...','2m']"},
	{"EndpointSlice",
	 "{" META ",'addressType':'IPv4','ports':[{'port':80},{'name':'x'},{},{'port':1}],"
	 "'endpoints':[{'addresses':['10.0.0.1']},{'addresses':['10.0.0.2']}]}",
	 "['n','IPv4','80,x,* + 1 more...','10.0.0.1,10.0.0.2','2m']"},
	{"EndpointSlice", "{" META ",'addressType':'IPv4'}",
	 "['n','IPv4','<unset>','<unset>','2m']"},
	{"Deployment",
	 "{" META ",'spec':{'replicas':3,'selector':{'matchLabels':{'b':'2'},'matchExpressions':[{"
	 "'key':'a','operator':'In','values':['y','x']},{'key':'c','operator':'DoesNotExist'},{"
	 "'key':'d','operator':'Exists'},{'key':'e','operator':'NotIn','values':['z']}]}," TEMPLATE
	 "},'status':{'readyReplicas':1,'updatedReplicas':2,'availableReplicas':1}}",
	 "['n','1/3',2,1,'2m','a,b','x,y:1','a in (x,y),b=2,!c,d,e notin (z)']"},
	{"ReplicaSet",
	 "{" META ",'spec':{'replicas':3," TEMPLATE "},'status':{'replicas':2,'readyReplicas':1}}",
	 "['n',3,2,1,'2m','a,b','x,y:1','<none>']"},
	{"ControllerRevision", "{" META ",'revision':7}", "['n','<none>',7,'2m']"},
	{"ControllerRevision",
	 "{'metadata':{'name':'n','ownerReferences':[{'apiVersion':'apps/v1','kind':'DaemonSet',"
	 "'name':'d','controller':true}]},'revision':1}",
	 "['n','daemonset.apps/d',1,'<unknown>']"},
	{"Scale", "{" META ",'spec':{'replicas':3},'status':{'replicas':2}}", "['n',3,2,'2m']"},
	{"Lease", "{" META ",'spec':{'holderIdentity':'me'}}", "['n','me','2m']"},
	{"Event",
	 "{" META ",'involvedObject':{'kind':'Pod','name':'p'},'type':'Warning','reason':'R',"
	 "'message':' m\\n','count':3,'firstTimestamp':'2026-01-01T00:00:00Z','lastTimestamp':"
	 "'2026-01-01T00:59:50Z','source':{'component':'c','host':'h'}}",
	 "['10s','Warning','R','pod/p','','c, h','m','60m',3,'n']"},
	{"Event",
	 "{" META ",'involvedObject':{'kind':'Node'},'eventTime':"
	 "'2026-01-01T00:59:00.000000Z','reportingComponent':'x'}",
	 "['60s','','','node','','x','','60s',1,'n']"},
};

Test(table, rows_match_their_columns)
{
	int64_t now;

	cr_assert_eq(um_time_parse(NOW, &now), 0);
	for (size_t i = 0; i < UM_ARRAY_LEN(rows); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		const struct um_kind *k = kind_of(rows[i][0]);
		struct um_json *row = um_schema_table_cells(k, parse(a, rows[i][1]), now, a);
		struct um_json *columns = um_schema_table_columns(k, a);

		cr_expect(um_json_equal(row, parse(a, rows[i][2])), "%zu: got %s", i,
			  text_of(a, row));
		cr_expect_eq(row->len, columns->len);
		um_json_foreach (c, columns)
			cr_expect(*um_json_get_str(c, "name", "") &&
				  *um_json_get_str(c, "description", "") &&
				  um_json_get(c, "priority") && um_json_get(c, "format"));
	}
}
