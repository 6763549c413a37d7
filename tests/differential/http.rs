//! An HTTP server that answers everybody the same, and says what it was asked.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use anyhow::Context;

/// What clients add by themselves.
const OF_CLIENTS: [&str; 6] =
    ["accept", "accept-encoding", "connection", "content-length", "host", "user-agent"];

/// Starts it; it ends with the process. Gives its URL.
pub(crate) fn serve() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Who goes away in the middle has asked nothing.
            std::thread::spawn(move || answer(client).ok());
        }
    });
    Ok(url)
}

fn answer(client: TcpStream) -> anyhow::Result<()> {
    let mut from = BufReader::new(&client);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first().context("nothing was asked")?.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let mut headers: Vec<(String, String)> = lines[1..].iter().filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, n)| n.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body)?;
    headers.retain(|(name, _)| !OF_CLIENTS.contains(&&**name));
    headers.sort();
    let (status, more, text) = match path.split('?').next().unwrap_or_default() {
        "/ok" => ("200 OK", "", "hello\nworld\n".to_owned()),
        "/empty" => ("204 No Content", "", String::new()),
        "/moved" => ("302 Found", "Location: /echo\r\n", "look there\n".to_owned()),
        "/echo" => {
            let mut text = format!("{method} {path}\n");
            for (name, value) in headers {
                text += &format!("{name}: {value}\n");
            }
            ("200 OK", "", text + "\n" + &String::from_utf8_lossy(&body))
        }
        _ => ("404 Not Found", "", "not here\n".to_owned()),
    };
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         X-Served: yes\r\n{more}Connection: close\r\n\r\n"
    );
    let text = if method == "HEAD" || length == 0 { "" } else { &text };
    (&client).write_all(format!("{head}{text}").as_bytes())?;
    Ok(())
}
