//! Logging and tracing of the process. Log lines go to stderr, because stdout has the output of
//! commands. If the settings name an OTLP collector, spans are sent to it.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::error::CommandError;
use crate::settings::{LogFormat, LogSettings};

/// A log target that reports malformed requests as errors. Any client could fill the log with it.
const MALFORMED_REQUESTS: &str = "actix_http::h1::dispatcher";
/// How long sending the last spans may take at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a collector may take to respond.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The exporter of spans, if there is one. Dropping it sends the last spans.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(spans) = &self.0
            && let Err(error) = spans.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Starts logging to stderr, as text or as JSON lines, and the export of spans if it is set up.
///
/// Lines are coloured on a terminal, unless `NO_COLOR` is set. A second call in one process, as in
/// tests, changes nothing.
///
/// # Errors
/// When the filter is invalid, which the settings check before, or the exporter cannot be created.
pub fn init(settings: &LogSettings) -> Result<Telemetry, CommandError> {
    // Later directives win, so the user's filter can turn these lines on again.
    let filter = EnvFilter::builder()
        .parse(format!("{MALFORMED_REQUESTS}=off,{}", settings.filter))
        .map_err(|error| CommandError::with_cause("log.filter (HOLDFAST__LOG__FILTER)", &error))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Human => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            // The innermost span is enough.
            .with_span_list(false)
            .with_ansi(false)
            .boxed(),
    };
    let provider = settings
        .otlp_endpoint
        .as_deref()
        .map(span_exporter)
        .transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("holdfast")));
    // This only fails when logging is set up already.
    let _already_set = tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .with(filter)
        .try_init();
    Ok(Telemetry(provider))
}

/// Creates an exporter that sends spans in batches, by OTLP over HTTP, from its own thread.
fn span_exporter(endpoint: &str) -> Result<SdkTracerProvider, CommandError> {
    let traces = match endpoint.ends_with("/v1/traces") {
        true => endpoint.to_owned(),
        false => format!("{endpoint}/v1/traces"),
    };
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::new(format!(
            "log.otlp_endpoint (HOLDFAST__LOG__OTLP_ENDPOINT): \
             spans can't be sent to {traces}: {error}"
        ))
    };
    // A blocking client must not be created on a thread of the async runtime.
    let client = std::thread::spawn(|| {
        reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(EXPORT_TIMEOUT)
            .build()
    });
    let client = match client.join() {
        Ok(client) => client.map_err(|error| failed(&error))?,
        Err(_) => return Err(failed(&"the HTTP client could not be created")),
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(&traces)
        .build()
        .map_err(|error| failed(&error))?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("holdfast").build())
        .build())
}

/// Connects the spans of this process to the traces of other processes.
pub mod spans {
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use holdfast_domain::TraceParent;

    /// Sets the parent of a span to a span of another process.
    pub fn set_parent(span: &Span, parent: &TraceParent) {
        let mut parts = parent.as_str().split('-').skip(1);
        let mut part = || parts.next().unwrap_or_default();
        let (trace, parent, flags) = (part(), part(), part());
        let (Ok(trace), Ok(parent), Ok(flags)) = (
            TraceId::from_hex(trace),
            SpanId::from_hex(parent),
            u8::from_str_radix(flags, 16),
        ) else {
            return;
        };
        let flags = TraceFlags::new(flags);
        let remote = SpanContext::new(trace, parent, flags, true, TraceState::default());
        let context = opentelemetry::Context::new().with_remote_span_context(remote);
        // This fails when spans are not exported, or the filter disabled this span.
        let _disabled = span.set_parent(context);
    }

    /// Returns a span as the parent of spans in other processes. Returns `None` if spans are not
    /// exported.
    pub fn as_parent(span: &Span) -> Option<TraceParent> {
        let context = span.context();
        let span = context.span();
        let own = span.span_context();
        if !own.is_valid() {
            return None;
        }
        let (trace, id, flags) = (own.trace_id(), own.span_id(), own.trace_flags().to_u8());
        TraceParent::parse(&format!("00-{trace}-{id}-{flags:02x}"))
    }

    /// Does nothing: the replacement of [`set_parent`] when spans are not exported.
    pub fn ignore_parent(_: &Span, _: &TraceParent) {}

    /// Returns `None`: the replacement of [`as_parent`] when spans are not exported.
    pub fn no_parent(_: &Span) -> Option<TraceParent> {
        None
    }
}
