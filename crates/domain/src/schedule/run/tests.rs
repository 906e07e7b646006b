//! Tests of the order of tasks: what runs after a failure, and what does not.

use super::*;

/// Reads tasks such as `c b! c`: command, backup, start (`s`), stop (`p`), kill (`k`), restart
/// (`r`); `!` continues on failure.
fn tasks(text: &str) -> Vec<ScheduleTask> {
    let action = |letter| match letter {
        'c' => TaskAction::Command("say hello".into()),
        'b' => TaskAction::Backup(String::new()),
        's' => TaskAction::Power(PowerAction::Start),
        'p' => TaskAction::Power(PowerAction::Stop),
        'k' => TaskAction::Power(PowerAction::Kill),
        'r' => TaskAction::Power(PowerAction::Restart),
        other => panic!("{other}"),
    };
    let task = |word: &str| ScheduleTask {
        action: action(word.chars().next().expect("a letter")),
        time_offset_seconds: 0,
        continue_on_failure: word.ends_with('!'),
    };
    text.split(' ').map(task).collect()
}

/// Runs tasks of which some fail, and returns those that ran.
fn run(tasks: &[ScheduleTask], failing: &[usize]) -> Vec<usize> {
    let mut position = RunPosition::default();
    let mut outcome = StepOutcome::Succeeded;
    let mut ran = Vec::new();
    while let NextStep::Begin {
        task, is_aborted, ..
    } = next_step(tasks, position, outcome)
    {
        ran.push(task);
        position = RunPosition {
            begun: Some(task),
            is_aborted,
        };
        outcome = if failing.contains(&task) {
            StepOutcome::Failed
        } else {
            StepOutcome::Succeeded
        };
    }
    ran
}

#[test]
fn what_runs_after_a_failure() {
    for (text, failing, expected) in [
        ("c c b c", vec![], vec![0, 1, 2, 3]),
        // save-off, save-all flush, backup, save-on.
        ("c c b c", vec![2], vec![0, 1, 2, 3]),
        ("c c b c", vec![0], vec![0, 3]),
        ("c c b c", vec![1], vec![0, 1, 3]),
        ("c c b c", vec![3], vec![0, 1, 2, 3]),
        ("c c b c c", vec![2, 3], vec![0, 1, 2, 3, 4]),
        // Nothing came before the backup that could be owed.
        ("b c", vec![0], vec![0]),
        ("b! c", vec![0], vec![0, 1]),
        ("b b", vec![0], vec![0]),
        // A server that was stopped is started.
        ("p b s", vec![1], vec![0, 1, 2]),
        ("k b r", vec![1], vec![0, 1, 2]),
        ("p b c", vec![1], vec![0, 1]),
        ("r b s", vec![1], vec![0, 1]),
        ("s b p", vec![1], vec![0, 1]),
        ("c p b s c", vec![2], vec![0, 1, 2, 3, 4]),
        ("c p b s c", vec![1], vec![0, 1, 3, 4]),
        ("c p b s c", vec![0], vec![0, 4]),
        // Two backups: all that was owed for the first, and nothing of the second.
        ("c b c b c", vec![1], vec![0, 1, 2, 4]),
        ("c b c b c", vec![3], vec![0, 1, 2, 3, 4]),
    ] {
        assert_eq!(
            run(&tasks(text), &failing),
            expected,
            "{text}, failing {failing:?}"
        );
    }
    assert_eq!(run(&[], &[]), Vec::<usize>::new());
}

#[test]
fn after_an_abort_a_run_does_not_continue_whatever_succeeds_later() {
    let tasks = tasks("c b c b");
    // The backup fails, the owed command succeeds: the second backup does not run.
    assert_eq!(run(&tasks, &[1]), [0, 1, 2]);
}

#[test]
fn every_run_ends_and_no_owed_task_is_left_out() {
    // All sequences of up to five tasks, with all sets of failures.
    let letters = ["c", "b", "s", "p", "b!"];
    for length in 1..=5u32 {
        for code in 0..letters.len().pow(length) {
            let words: Vec<&str> = (0..length)
                .map(|n| letters[code / letters.len().pow(n) % letters.len()])
                .collect();
            let tasks = tasks(&words.join(" "));
            for failures in 0..1usize << length {
                let failing: Vec<usize> = (0..tasks.len())
                    .filter(|n| failures >> n & 1 == 1)
                    .collect();
                let ran = run(&tasks, &failing);
                assert!(
                    ran.is_sorted_by(|a, b| a < b),
                    "{words:?} {failing:?}: {ran:?}"
                );
                for task in 0..tasks.len() {
                    // What ran before the last backup before this task.
                    let backup = words[..task].iter().rposition(|word| word.starts_with('b'));
                    let begun =
                        |letter| ran.iter().any(|&n| Some(n) < backup && words[n] == letter);
                    let is_owed = match words[task] {
                        "c" => begun("c"),
                        "s" => begun("p"),
                        _ => false,
                    };
                    assert!(
                        !is_owed || ran.contains(&task),
                        "{words:?} {failing:?}: {task} is owed, {ran:?} ran"
                    );
                }
            }
        }
    }
}
