//! Sets up logging, once, for the whole process. Lines go to stderr: stdout belongs to commands. Where the settings
//! name a collector, spans are sent to it as well.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::failure::Failure;
use crate::settings::{LogFormat, LogSettings};

/// Tells as errors what is wrong with a client's bytes: anybody could fill the log with that.
const CLIENTS: &str = "actix_http::h1::dispatcher";
/// How long spans that are still on their way may take at the end.
const FLUSH: Duration = Duration::from_secs(3);
/// How long a collector may take to answer.
const SEND: Duration = Duration::from_secs(10);

/// Logs, and sends spans, until it is dropped.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(spans) = &self.0
            && let Err(error) = spans.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Logs to stderr from now on, as people read it or as one JSON object a line, and sends spans to the collector of
/// the settings, if there is one.
///
/// Colours are for terminals only, and for those who have not set `NO_COLOR`. A second call changes
/// nothing: tests in one process share the first.
///
/// # Errors
/// When the filter is no list of directives, which the settings have checked before, or spans can't be sent.
pub fn init(settings: &LogSettings) -> Result<Telemetry, Failure> {
    // What stands behind counts more: a filter may ask for these lines all the same.
    let filter = EnvFilter::builder()
        .parse(format!("{CLIENTS}=off,{}", settings.filter))
        .map_err(|error| Failure::of("log.filter (HOLDFAST__LOG__FILTER)", &error))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Human => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            // The innermost one says where a line belongs.
            .with_span_list(false)
            .with_ansi(false)
            .boxed(),
    };
    let provider = settings
        .otlp_endpoint
        .as_deref()
        .map(spans_to)
        .transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("holdfast")));
    // It fails only when somebody has set up logging before.
    let _before = tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .with(filter)
        .try_init();
    Ok(Telemetry(provider))
}

/// Sends spans to a collector that speaks OTLP over HTTP, many at once, from a thread of its own.
fn spans_to(endpoint: &str) -> Result<SdkTracerProvider, Failure> {
    let traces = match endpoint.ends_with("/v1/traces") {
        true => endpoint.to_owned(),
        false => format!("{endpoint}/v1/traces"),
    };
    let refused = |error: &dyn std::fmt::Display| {
        Failure::new(format!(
            "log.otlp_endpoint (HOLDFAST__LOG__OTLP_ENDPOINT): spans can't be sent to {traces}: {error}"
        ))
    };
    // It must not be made where the runtime's threads are.
    let client = std::thread::spawn(|| {
        reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(SEND)
            .build()
    });
    let client = match client.join() {
        Ok(client) => client.map_err(|error| refused(&error))?,
        Err(_) => return Err(refused(&"the client could not be made")),
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(&traces)
        .build()
        .map_err(|error| refused(&error))?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("holdfast").build())
        .build())
}

/// What ties this process's spans to those of others.
pub mod spans {
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use holdfast_domain::TraceParent;

    /// Makes a span a part of another service's step.
    pub fn adopt(span: &Span, parent: &TraceParent) {
        let mut parts = parent.as_str().split('-').skip(1);
        let mut part = || parts.next().unwrap_or_default();
        let (trace, step, flags) = (part(), part(), part());
        let (Ok(trace), Ok(step), Ok(flags)) = (
            TraceId::from_hex(trace),
            SpanId::from_hex(step),
            u8::from_str_radix(flags, 16),
        ) else {
            return;
        };
        let flags = TraceFlags::new(flags);
        let remote = SpanContext::new(trace, step, flags, true, TraceState::default());
        let context = opentelemetry::Context::new().with_remote_span_context(remote);
        // It fails where nobody sends spans on, or for a span that nobody wants.
        let _unwanted = span.set_parent(context);
    }

    /// Names a span for those who are to be part of it; nothing where nobody sends spans on.
    pub fn context(span: &Span) -> Option<TraceParent> {
        let context = span.context();
        let span = context.span();
        let own = span.span_context();
        if !own.is_valid() {
            return None;
        }
        let (trace, step, flags) = (own.trace_id(), own.span_id(), own.trace_flags().to_u8());
        TraceParent::parse(&format!("00-{trace}-{step}-{flags:02x}"))
    }

    /// Does nothing, where no spans are sent on.
    pub fn leave(_: &Span, _: &TraceParent) {}

    /// Knows no name, where no spans are sent on.
    pub fn none(_: &Span) -> Option<TraceParent> {
        None
    }
}
