S ("pb" "none")
C "pb"
C ("version" 6)
C ("message" 1 "root" "login" 1 ("tuple" "dev") ("dictionary"))
S ("version" 6)
S ("answer" 1 ("tuple" "0\xe2\x12\x86\x02b\xdf\x11\xd5\x9c\xe5\x9f\x88%\xd8\xd8" ("remote" 1)))
C ("message" 2 1 "respond" 1 ("tuple" "g\xca\xbc<\xc7\xc2 y\xb2&\xa3\xaa!N\x89k" ("None")) ("dictionary"))
C ("decref" 1)
S ("error" 2 ("twisted.spread.pb.CopyableFailure" ("dictionary" (("unicode" "count") 6) (("unicode" "type") "twisted.cred.error.UnauthorizedLogin") (("unicode" "value") ("unicode" "")) (("unicode" "captureVars") ("boolean" "false")) (("unicode" "tb") ("None")) (("unicode" "pickled") 1) (("unicode" "_frames") ("list" ("tuple" ("unicode" "_inlineCallbacks") ("unicode" "/tmp/gf/site/master-4.3.0/twisted/internet/defer.py") 1835 ("reference" 1 ("tuple")) ("dereference" 1)) ("tuple" ("unicode" "requestAvatarId") ("unicode" "/tmp/gf/site/master-4.3.0/buildbot/worker/protocols/manager/pb.py") 91 ("dereference" 1) ("dereference" 1)))) (("unicode" "unsafeTracebacks") ("boolean" "true")) (("unicode" "parents") ("list" ("unicode" "twisted.cred.error.UnauthorizedLogin") ("unicode" "twisted.cred.error.LoginFailed") ("unicode" "twisted.cred.error.Unauthorized") ("unicode" "builtins.Exception") ("unicode" "builtins.BaseException") ("unicode" "builtins.object"))) (("unicode" "frames") ("list")) (("unicode" "stack") ("list")) (("unicode" "traceback") ("unicode" "Traceback (most recent call last):\x0a  File \"/tmp/gf/site/master-4.3.0/twisted/internet/defer.py\", line 1835, in _inlineCallbacks\x0a    result = context.run(gen.send, result)\x0a  File \"/tmp/gf/site/master-4.3.0/buildbot/worker/protocols/manager/pb.py\", line 91, in requestAvatarId\x0a    raise error.UnauthorizedLogin()\x0atwisted.cred.error.UnauthorizedLogin: \x0a")))))
