//! Reading a control file, up to the exec.

use std::collections::BTreeMap;

use serde_json::Value;
use skyhook_agent::exec::chroot_exec::Prepared;

/// The environment that the child inherits.
const INHERITED: [(&str, &str); 2] = [("PATH", "/inherited"), ("HOME", "/root")];

/// Checks any bytes as a control file.
pub fn check(json: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(json) else {
        // It can still be accepted: values of unknown keys are not parsed.
        drop(prepare(json));
        return;
    };
    // The same document, each key once.
    let expected = model(&document);
    assert_eq!(prepare(document.to_string().as_bytes()).ok(), expected);
    // `json` may have a key twice: it is refused then. Else both are the same.
    if let Ok(prepared) = prepare(json) {
        assert_eq!(Some(prepared), expected);
    }
}

/// Arguments, environment and working directory.
type Parts = (Vec<String>, BTreeMap<String, String>, String);

fn prepare(json: &[u8]) -> Result<Parts, String> {
    let inherited = INHERITED.map(|(name, value)| (name.into(), value.into()));
    let prepared = Prepared::parse(json, inherited).inspect_err(|problem| {
        assert!(problem.contains("expected"), "{problem}");
    })?;
    let text = |string: &std::ffi::CString| string.to_str().unwrap().to_owned();
    let variable = |string| {
        let variable = text(string);
        let (name, value) = variable.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    Ok((
        prepared.argv().iter().map(text).collect(),
        prepared.envp().iter().map(variable).collect(),
        prepared.copy_dir().to_str().unwrap().to_owned(),
    ))
}

/// Reads a control file as contract §3 says; `None` if the contract refuses it.
fn model(document: &Value) -> Option<Parts> {
    // A list will do as well: the reader takes its items for the fields, in order.
    let fields = ["cmd", "no_chmod", "env", "copy_dir"];
    let field = |name| match document {
        Value::Array(items) => items.get(fields.iter().position(|field| *field == name)?),
        fields => fields.get(name),
    };
    if document
        .as_array()
        .is_some_and(|items| items.len() > fields.len())
    {
        return None;
    }
    let string = |value: &Value| {
        let string = value.as_str()?;
        (!string.contains('\0')).then(|| string.to_owned())
    };
    let cmd = field("cmd")?.as_array()?;
    let cmd: Vec<String> = cmd.iter().map(string).collect::<Option<_>>()?;
    field("no_chmod")
        .is_none_or(Value::is_boolean)
        .then_some(())?;
    let mut env = BTreeMap::from(INHERITED.map(|(name, value)| (name.into(), value.into())));
    if let Some(over) = field("env") {
        for (name, value) in over.as_object()? {
            env.insert(name.clone(), string(value)?);
            (!name.contains(['=', '\0'])).then_some(())?;
        }
    }
    let copy_dir = string(field("copy_dir")?)?;
    (!cmd.is_empty() && copy_dir.starts_with('/')).then_some((cmd, env, copy_dir))
}
