//! The client: a plugin's devices, opened.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::buffer::Buffer;
use super::cache::{CacheOutcome, Key, ProgramCache, without_locations};
use super::device_kind::{DeviceKind, Target};
use super::error::{Error, Result};
use super::ffi::{Api, ClientHandle, ExecutableHandle, Node, Store};
use super::kernels::all_reduce;
use super::options::{CompileOptions, OptionValue};
use super::plugin::{PluginFile, Source};
use super::program::Program;
use super::signature;
use super::tpu;
use super::world::World;
use crate::array::HostArray;

/// XLA's CPU backend computes minima and maxima that may lose a NaN, unless this is off: then a ReLU does not hide that
/// training diverges, and all devices agree. It costs nothing (`BENCHMARKS.md`). Options of the caller come after.
const FAST_MIN_MAX: &str = "xla_cpu_enable_fast_min_max";

/// An open plugin with its devices. Clones share them; everything may be used from several threads.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    deterministic: bool,
    target: Target,
    observer: Option<Observer>,
    world: Option<Arc<World>>,
}

/// What is called when XLA begins to compile, which takes long; not when a program comes from the cache.
pub type Observer = Arc<dyn Fn() + Send + Sync>;

struct Inner {
    handle: Arc<ClientHandle>,
    platform: String,
    platform_version: String,
    device_kind: String,
    attributes: Vec<(String, String)>,
    plugin: PluginFile,
    cache: ProgramCache,
}

impl Client {
    /// Opens `device_count` devices (at least 1) of a plugin. On cpu these are virtual, and any number can be
    /// had; elsewhere there must be as many.
    pub fn open(file: &PluginFile, device_count: usize) -> Result<Client> {
        Client::open_with(file, device_count, ProgramCache::from_env())
    }

    /// As [`Client::open`], with a program cache of the caller's choice.
    pub fn open_with(file: &PluginFile, device_count: usize, cache: ProgramCache) -> Result<Client> {
        Client::open_as(file, device_count, cache, None)
    }

    /// Opens `device_count` devices in each process of `world`. Programs run on all of them together, which sum over the connections of
    /// that world on cpu, and as the plugin does elsewhere: on cuda the plugins find each other through the `store`, on tpu by themselves.
    ///
    /// # Errors
    /// As [`Client::open`]; the plugin has no way for it.
    pub fn open_together(
        file: &PluginFile,
        device_count: usize,
        world: Arc<World>,
        store: Arc<dyn Store>,
    ) -> Result<Client> {
        let cache = ProgramCache::from_env();
        let client = match file.kind {
            DeviceKind::Cpu => {
                let client = Client::open_as(file, device_count, cache, None)?;
                if !client.target.kernels {
                    return Err(Error::OneProcess { kind: file.kind });
                }
                all_reduce::connect(world.clone());
                client
            }
            DeviceKind::Cuda => {
                let first_device = world.first_device(device_count);
                let node = Node { rank: world.rank(), count: world.processes().total, first_device, store };
                Client::open_as(file, device_count, cache, Some(node))?
            }
            DeviceKind::Tpu => {
                let other = |problem| Error::Tpu { problem };
                tpu::check(world.rank(), world.processes()).map_err(other)?;
                let client = Client::open_as(file, device_count, cache, None)?;
                client.check_processes(&world, device_count)?;
                client
            }
        };
        let target = Target { processes: world.processes(), ..client.target };
        Ok(Client { target, world: Some(world), ..client })
    }

    /// Makes sure that the plugin has found the processes of the world, where it finds them by itself.
    fn check_processes(&self, world: &World, device_count: usize) -> Result<()> {
        let (rank, total) = (world.rank(), world.processes().total);
        let (own, devices) = (self.inner.handle.process()?, self.inner.handle.all_devices()?);
        let known = devices.last().map_or(0, |(process, _)| process + 1);
        let problem = if (own, known) != (rank, total) {
            format!(
                "to libtpu this is process {own} of {known}, and here rank {rank} of {total}; give it the same number in both"
            )
        } else if self.devices() != device_count || devices.len() != device_count * total {
            let (shown, all) = (self.devices(), devices.len());
            format!(
                "libtpu shows {shown} TPUs in this process, {all} in all; train with --devices {shown} in each of {total} processes"
            )
        } else {
            return Ok(());
        };
        Err(Error::Tpu { problem })
    }

    fn open_as(
        file: &PluginFile,
        device_count: usize,
        cache: ProgramCache,
        node: Option<Node>,
    ) -> Result<Client> {
        assert!(device_count > 0, "a client needs at least one device");
        // Without a device the plugin for tpu searches for minutes; a path that the user gave is tried anyway.
        if !file.kind.is_present() && matches!(file.source, Source::Cache | Source::Python) {
            return Err(Error::DeviceAbsent { kind: file.kind });
        }
        let handle = Arc::new(ClientHandle::create(Api::load(&file.path)?, file.kind, device_count, node)?);
        let platform = handle.platform_name()?;
        if !file.kind.is_platform(&platform) {
            return Err(Error::WrongKind { path: file.path.clone(), platform, kind: file.kind });
        }
        if handle.num_devices() < device_count {
            let (requested, present) = (device_count, handle.num_devices());
            return Err(Error::TooFewDevices { path: file.path.clone(), requested, present });
        }
        let kernels = file.kind == DeviceKind::Cpu && handle.api().register_kernels();
        let target = Target { kernels, ..Target::plain(file.kind) };
        let inner = Inner {
            platform,
            platform_version: handle.platform_version()?,
            device_kind: handle.device_kind()?,
            attributes: handle.api().attributes()?,
            plugin: file.clone(),
            handle,
            cache,
        };
        Ok(Client { inner: Arc::new(inner), deterministic: false, target, observer: None, world: None })
    }

    /// Whether programs that this client compiles from now on must give the same bits in every run. On cuda that
    /// costs speed; elsewhere they do anyway.
    pub fn deterministic(self, wanted: bool) -> Client {
        Client { deterministic: wanted, ..self }
    }

    /// The client as it is, but it calls `observer` whenever it compiles.
    pub fn observed(self, observer: Observer) -> Client {
        Client { observer: Some(observer), ..self }
    }

    /// How many devices the client shows.
    pub fn devices(&self) -> usize {
        self.inner.handle.num_devices()
    }

    /// What programs for this client are traced and lowered for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The client as it is, but its programs call native kernels only if that is `wanted`.
    pub fn with_kernels(self, wanted: bool) -> Client {
        let target = Target { kernels: self.target.kernels && wanted, ..self.target };
        Client { target, ..self }
    }

    /// The client as it is, but its programs have clusters only if that is `wanted`.
    pub fn with_clusters(self, wanted: bool) -> Client {
        let target = Target { clusters: self.target.clusters && wanted, ..self.target };
        Client { target, ..self }
    }

    /// The processes that its programs run in, if there are several.
    pub fn world(&self) -> Option<&World> {
        self.world.as_deref()
    }

    /// XLA's name of the platform: `cpu`, `cuda`, `tpu`, ...
    pub fn platform(&self) -> &str {
        &self.inner.platform
    }

    /// The platform's own words on its version: that of CUDA, of libtpu, or just `cpu`.
    pub fn platform_version(&self) -> &str {
        &self.inner.platform_version
    }

    /// The vendor's name of the devices, such as `NVIDIA H100 80GB HBM3`.
    pub fn device_kind(&self) -> &str {
        &self.inner.device_kind
    }

    /// The kind of its devices.
    pub fn kind(&self) -> DeviceKind {
        self.inner.plugin.kind
    }

    /// The plugin that was opened.
    pub fn plugin(&self) -> &PluginFile {
        &self.inner.plugin
    }

    /// Major and minor version of the PJRT API that the plugin was built with.
    pub fn api_version(&self) -> (i32, i32) {
        self.inner.handle.api().version()
    }

    /// What the plugin says of itself: names and values, such as `stablehlo_current_version` and `1.13.3`.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.inner.attributes
    }

    /// Compiles StableHLO text, or loads the compiled program from the cache. What XLA says about a module
    /// that it refuses is in the error, with the module's locations.
    pub fn compile(&self, module: &str, options: &CompileOptions) -> Result<Program> {
        assert!(options.num_replicas > 0, "a program runs on at least one replica");
        // A program of one replica is this process's own.
        let num_replicas = (options.num_replicas / self.target.processes.total).max(1);
        if num_replicas > self.devices() {
            let (requested, present) = (num_replicas, self.devices());
            return Err(Error::TooFewDevices { path: self.plugin().path.clone(), requested, present });
        }
        let inputs = signature::input_types(module)?;
        let kind = self.plugin().kind;
        let options = match (kind, &self.world) {
            (DeviceKind::Cuda | DeviceKind::Tpu, Some(world)) => {
                self.over_processes(options, num_replicas, world)?
            }
            _ => CompileOptions { num_replicas, ..options.clone() }, // all that XLA knows of
        };
        let mut options = if self.deterministic { options.deterministic(kind) } else { options };
        if kind == DeviceKind::Cpu {
            options.overrides.insert(0, (FAST_MIN_MAX.into(), OptionValue::Bool(false)));
        }
        let started = Instant::now();
        let (executable, cache) = self.load_or_compile(module, &options.to_proto())?;
        let seconds = started.elapsed().as_secs_f64();
        Program::new(executable, num_replicas, inputs, cache, seconds)
    }

    /// The options with the devices that XLA is to use: those of all processes, or `num_own` of this one.
    fn over_processes(
        &self,
        options: &CompileOptions,
        num_own: usize,
        world: &World,
    ) -> Result<CompileOptions> {
        let all: Vec<i64> = self.inner.handle.all_devices()?.into_iter().map(|(_, id)| id).collect();
        let own = self.devices();
        let devices = match options.num_replicas == all.len() {
            true => all,
            false => all[world.rank() * own..][..num_own].to_vec(),
        };
        let mut overrides = options.overrides.clone();
        if self.kind() == DeviceKind::Cuda {
            // It waits for hours for processes that find the program in their cache.
            overrides.push(("xla_gpu_shard_autotuning".into(), OptionValue::Bool(false)));
        }
        Ok(CompileOptions { num_replicas: devices.len(), devices, overrides })
    }

    /// How many buffers, programs and clones keep the client open.
    #[cfg(test)]
    pub(super) fn live_objects(&self) -> usize {
        Arc::strong_count(&self.inner.handle) + Arc::strong_count(&self.inner) - 2
    }

    fn load_or_compile(&self, module: &str, options: &[u8]) -> Result<(ExecutableHandle, CacheOutcome)> {
        let Inner { handle, cache, .. } = &*self.inner;
        // Locations are for XLA's errors. Elsewhere they only make the program larger, and another one of code that has moved to
        // another line.
        let bare = without_locations(module);
        let key = cache.is_enabled().then(|| self.cache_key(&bare, options));
        if let Some(serialized) = key.as_ref().and_then(|key| cache.load(key)) {
            match handle.deserialize(&serialized) {
                Ok(executable) => return Ok((executable, CacheOutcome::Hit)),
                Err(error) => {
                    tracing::debug!("a cached program does not load and is compiled again: {error}")
                }
            }
        }
        if let Some(observer) = &self.observer {
            observer();
        }
        let executable = handle.compile(&bare, options).or_else(|_| handle.compile(module, options))?;
        if let Some(key) = key {
            match executable.serialize() {
                Ok(serialized) => cache.store(&key, &serialized),
                Err(error) => tracing::warn!("the plugin cannot serialize programs for the cache: {error}"),
            }
        }
        Ok((executable, CacheOutcome::Miss))
    }

    /// Names all that decides the compiled code: program, options, compiler, device, and XLA's flags.
    fn cache_key(&self, module: &str, options: &[u8]) -> Key {
        let inner = &*self.inner;
        let mut key = Key::new();
        key.add(module.as_bytes()).add(options).add_file_identity(&inner.plugin.path).add_host();
        key.add(format!("{:?} {:?}", self.api_version(), inner.attributes).as_bytes());
        key.add(inner.platform.as_bytes()).add(inner.platform_version.as_bytes());
        key.add(inner.device_kind.as_bytes()).add(&self.devices().to_le_bytes());
        key.add(std::env::var_os("XLA_FLAGS").unwrap_or_default().as_encoded_bytes());
        key
    }

    /// Bytes in use on device number `device`; nothing where the plugin does not count them, as on cpu.
    pub fn memory_in_use(&self, device: usize) -> Option<u64> {
        self.inner.handle.memory_in_use(device)
    }

    /// Copies an array to device number `device`, counted from 0.
    pub fn to_device(&self, array: &HostArray, device: usize) -> Result<Buffer> {
        if device >= self.devices() {
            return Err(Error::NoSuchDevice { device, present: self.devices() });
        }
        Ok(Buffer::new(self.inner.handle.upload(array, device)?, array.array_type()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, {} devices)", self.platform(), self.devices())
    }
}
