"""What there is, over HTTP."""


def test_a(client) -> None:
    info = client.get("/v1/info").json()
    print(info)
