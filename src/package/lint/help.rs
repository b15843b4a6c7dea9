//! What to do about a finding, in one line.

use super::super::schema::STEP_KEYS;
use super::super::{Code, Finding, Mode};
use super::near::near;

pub(super) fn of(finding: &Finding) -> String {
    let key = finding.place.last_key().unwrap_or_default();
    let near = match finding.code {
        Code::UnknownKey => near(key, STEP_KEYS),
        Code::UnknownMode => near(key, Mode::ALL.map(Mode::name)),
        _ => None,
    };
    match near {
        Some(near) => format!("did you mean {near}?"),
        None => by_code(finding.code).to_owned(),
    }
}

fn by_code(code: Code) -> &'static str {
    match code {
        Code::Syntax => "a JSON formatter such as jq shows where the text stops being JSON",
        Code::ByteOrderMark => "save the file as UTF-8 without a byte order mark",
        Code::Comment => "remove it; a README has space for explanations",
        Code::TrailingComma => "remove the comma",
        Code::WrongType => "give it a value of the type that is expected",
        Code::MissingValue => "add the key; it has no default",
        Code::UnknownKey => "remove the key, or correct it",
        Code::SchemaVersion => "write \"v1\", the only one there is",
        Code::PackageName => "choose a name that can be the name of a directory",
        Code::ReservedName => "choose another name for the package",
        Code::ControlCharacter => "remove newlines, tabs and the like from it",
        Code::ConfigFilePath => "write the key of the ConfigMap, which becomes the file's name",
        Code::PackageVersion => "write MAJOR.MINOR.PATCH, without a v in front",
        Code::UnknownMode => "use one of the modes that are listed",
        Code::NoStep => "add a step to a mode, such as apply",
        Code::NoMode => "add the mode that the steps belong to; its list may be empty",
        Code::NoCheckStep => "add a step that succeeds only if the mode's steps did their work",
        Code::NoCheckFile => "add a step that checks this one",
        Code::StepName => "use the characters that are listed",
        Code::StepPath => "write the path of the file below skyhook_dir",
        Code::NoFile => "add the file, or correct the path; --base names a package to inherit from",
        Code::Unreadable => "see if the file is there, and if you may read it",
        Code::NameTooLong => "choose a shorter name: the agent's files are named after it",
        Code::NoReturnCode => "write [0] if only the exit code 0 is success",
        Code::VariableName => "remove it from the name; what follows a = is the value",
        Code::NulByte => "remove it; no process can be given one",
        Code::UpgradeStep => "move the step to upgrade or upgrade-check, or write false",
        Code::UpgradeArguments => "remove the arguments; the step is given the two versions",
        Code::TooMany => "fix what is listed, and look again",
        Code::NotAFile => "write the path of a file",
        Code::NoInterpreterLine => "begin the file with a line such as #!/bin/bash",
        Code::NoInterpreter => {
            "use an interpreter that the nodes have, or install it in an earlier step"
        }
        Code::LineEnds => "convert the file: sed -i 's/\\r$//' FILE",
        Code::NotCopied => "remove it; a step can create it on the node",
        Code::NoConfigFile => "add it to the ConfigMap, or do not expect it",
        Code::IgnoredKey => "remove the key, or correct it",
        Code::RepeatedKey => "remove one of the two",
        Code::OtherName => "the operator's name decides where state and logs go: use one name",
        Code::SameName => "give each step of a mode a name of its own",
        Code::SameFlag => "give the steps different arguments, or set idempotence to true",
        Code::SameCheck => "let the check run a program of its own, or other arguments",
        Code::LoneCheck => "add the mode, or an empty list of its steps if that is meant",
        Code::OnHost => "write true",
        Code::ReturnCode => "write an exit code from 0 to 255, or minus the number of a signal",
        Code::EnvInArgument => {
            "make the reference an argument of its own, or read the variable in the step"
        }
        Code::Secret => "read it from a file on the node, or from a ConfigMap's file",
        Code::NotExecutable => "run chmod +x on each",
        Code::ShellSyntax => "fix the script; the step would fail at that line",
        Code::UnusedFile => "remove it, or add the step that was meant to run it",
    }
}
