//! Ops over whole arrays whose text needs more than a list of attributes: products, sums, reading and writing by index.

use super::text::{list, tensor};
use super::writer::{operands, signature};
use super::{Lowering, Precision, Value};
use crate::array::{ArrayType, DType, HostArray};
use crate::ir::{Location, Reduction, ScatterKind, Window};
use crate::runtime::kernels;

impl Lowering<'_> {
    /// A matrix product, in f32 as precise as the options say.
    pub(super) fn dot(
        &mut self,
        batch: &(Vec<usize>, Vec<usize>),
        contract: &(Vec<usize>, Vec<usize>),
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        if let Some(axes) = self.native_axes(batch, contract, inputs) {
            let attributes = kernels::CONTRACTED.map(str::to_owned).into_iter().zip(axes).collect();
            return self.call_kernel(kernels::DOT_BF16, attributes, inputs, &[], outputs, at).remove(0);
        }
        let batching = match batch.0.is_empty() {
            true => String::new(),
            false => format!(", batching_dims = {} x {}", list(&batch.0), list(&batch.1)),
        };
        let (precision, factors) = self.factors(inputs, at);
        let attributes = format!(
            "{batching}, contracting_dims = {} x {}, precision = [{name}, {name}]",
            list(&contract.0),
            list(&contract.1),
            name = precision.in_stablehlo()
        );
        self.simple("dot_general", &attributes, &factors, outputs, at)
    }

    /// The axes along which a native product of numbers rounded to bf16 sums, if there is one for these factors and it pays.
    fn native_axes(
        &self,
        batch: &(Vec<usize>, Vec<usize>),
        contract: &(Vec<usize>, Vec<usize>),
        inputs: &[Value],
    ) -> Option<[i32; 2]> {
        /// Products of two numbers.
        const LARGE: usize = 1 << 20;
        /// Rows of the left factor, for which the copy of the right one pays.
        const ROWS: usize = 32;
        let [left, right] = [0, 1].map(|i| &inputs[i].array_type);
        let (&[i], &[j]) = (&contract.0[..], &contract.1[..]) else { return None };
        let are_matrices = batch.0.is_empty() && left.rank() == 2 && right.rank() == 2;
        let wanted = self.target.kernels && self.options.precision == Precision::Bf16;
        if !wanted || !are_matrices || left.dtype != DType::F32 {
            return None;
        }
        let (rows, width) = (left.shape[1 - i], right.shape[1 - j]);
        let pays = rows >= ROWS && width % kernels::DOT_WIDTH == 0 && rows * width * left.shape[i] >= LARGE;
        pays.then_some([i as i32, j as i32])
    }

    /// A convolution, as precise as a matrix product.
    pub(super) fn conv(
        &mut self,
        windows: &[Window; 2],
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let (precision, factors) = self.factors(inputs, at);
        let of = |part: fn(&Window) -> String| windows.each_ref().map(part).join(", ");
        let text = format!(
            "stablehlo.convolution({}) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], \
             window = {{stride = [{}], pad = [{}], lhs_dilate = [{}], rhs_dilate = [{}]}} \
             {{batch_group_count = 1 : i64, feature_group_count = 1 : i64, \
             precision_config = [#stablehlo<precision {name}>, #stablehlo<precision {name}>]}} : {}",
            operands(&factors),
            of(|window| window.stride.to_string()),
            of(|window| format!("{:?}", window.padding)),
            of(|window| window.input_dilation.to_string()),
            of(|window| window.kernel_dilation.to_string()),
            signature(&factors, outputs),
            name = precision.in_stablehlo()
        );
        self.line(&text, at)
    }

    /// The operands of a matrix product or convolution, rounded if they are f32 and the options say so, and how precise the op
    /// must be. With native kernels only those round their operands: to XLA's compiler for cpu products of bf16 are products of f32.
    fn factors(&mut self, inputs: &[Value], at: Location) -> (Precision, Vec<Value>) {
        let precision = match inputs[0].array_type.dtype {
            DType::F32 if self.target.kernels => Precision::F32,
            DType::F32 => self.options.precision,
            _ => Precision::F32,
        };
        let factors = match precision {
            Precision::F32 | Precision::Tf32 => inputs.to_vec(),
            Precision::Bf16 => inputs.iter().map(|x| self.rounded(x, at)).collect(),
        };
        (precision, factors)
    }

    /// An f32 array as bf16. XLA may drop a pair of conversions (f32 to bf16 and back, as on cpu, where products of
    /// bf16 are products of f32), but never a reduction of precision.
    fn rounded(&mut self, x: &Value, at: Location) -> Value {
        let f32s = tensor(&x.array_type);
        let text = format!("stablehlo.reduce_precision {}, format = e8m7 : {f32s}", x.name);
        let name = self.line(&text, at);
        let array_type = ArrayType::new(DType::BF16, &*x.array_type.shape);
        let text = format!("stablehlo.convert {name} : ({f32s}) -> {}", tensor(&array_type));
        Value { name: self.line(&text, at), array_type }
    }

    pub(super) fn reduce(
        &mut self,
        kind: Reduction,
        axes: &[usize],
        x: &Value,
        output: &ArrayType,
        at: Location,
    ) -> String {
        let dtype = x.array_type.dtype;
        let identity =
            Value { name: self.constant(&identity(kind, dtype), at), array_type: ArrayType::scalar(dtype) };
        let op = match kind {
            Reduction::Sum => "add",
            Reduction::Max => "maximum",
            Reduction::Min => "minimum",
            Reduction::And => "and",
            Reduction::Or => "or",
        };
        let text = format!(
            "stablehlo.reduce({} init: {}) applies stablehlo.{op} across dimensions = {} : {}",
            x.name,
            identity.name,
            list(axes),
            signature(&[x.clone(), identity.clone()], std::slice::from_ref(output))
        );
        self.line(&text, at)
    }

    pub(super) fn reverse(
        &mut self,
        axes: &[usize],
        inputs: &[Value],
        output: &ArrayType,
        at: Location,
    ) -> String {
        let text =
            format!("stablehlo.reverse {}, dims = {} : {}", inputs[0].name, list(axes), tensor(output));
        self.line(&text, at)
    }

    pub(super) fn gather(
        &mut self,
        axis: usize,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let [x, indices] = [&inputs[0].array_type, &inputs[1].array_type];
        let mut sizes = x.shape.clone();
        sizes[axis] = 1;
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let text = format!(
            "\"stablehlo.gather\"({}) <{{dimension_numbers = #stablehlo.gather<offset_dims = {}, \
             collapsed_slice_dims = [{axis}], start_index_map = [{axis}], index_vector_dim = {}>, \
             indices_are_sorted = false, slice_sizes = array<i64: {}>}}> : {}",
            operands(inputs),
            list(&window_axes(axis, x, indices)),
            indices.rank(),
            sizes.join(", "),
            signature(inputs, outputs)
        );
        let name = self.line(&text, at);
        if axis == 0 && x.rank() == 2 && indices.rank() == 1 {
            self.gathered.insert(name.clone(), [inputs[0].clone(), inputs[1].clone()]);
        }
        name
    }

    pub(super) fn scatter(
        &mut self,
        axis: usize,
        kind: ScatterKind,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let [x, indices] = [&inputs[0].array_type, &inputs[1].array_type];
        let scalar = tensor(&ArrayType::scalar(x.dtype));
        let region = match kind {
            ScatterKind::Set => format!("stablehlo.return %new : {scalar}"),
            ScatterKind::Add => {
                format!("%sum = stablehlo.add %old, %new : {scalar}\n      stablehlo.return %sum : {scalar}")
            }
        };
        let text = format!(
            "\"stablehlo.scatter\"({}) <{{indices_are_sorted = false, scatter_dimension_numbers = \
             #stablehlo.scatter<update_window_dims = {}, inserted_window_dims = [{axis}], \
             scatter_dims_to_operand_dims = [{axis}], index_vector_dim = {}>, unique_indices = {}}}> ({{\n    \
             ^bb0(%old: {scalar}, %new: {scalar}):\n      {region}\n    }}) : {}",
            operands(inputs),
            list(&window_axes(axis, x, indices)),
            indices.rank(),
            kind == ScatterKind::Set,
            signature(inputs, outputs)
        );
        self.apart(&text, inputs, &outputs[0], at)
    }
}

/// Where the axes of `x` other than `axis` stand in a gathered array.
fn window_axes(axis: usize, x: &ArrayType, indices: &ArrayType) -> Vec<usize> {
    (0..axis).chain(axis + indices.rank()..x.rank() - 1 + indices.rank()).collect()
}

/// The value that a reduction starts from.
fn identity(kind: Reduction, dtype: DType) -> HostArray {
    let bits: u64 = match (kind, dtype) {
        (Reduction::Sum | Reduction::Or, _) => 0,
        (Reduction::And, _) => 1,
        (Reduction::Max, DType::BF16) => 0xff80,
        (Reduction::Max, DType::F32) => f32::NEG_INFINITY.to_bits().into(),
        (Reduction::Max, DType::F64) => f64::NEG_INFINITY.to_bits(),
        (Reduction::Max, DType::I32) => i32::MIN as u32 as u64,
        (Reduction::Max, _) => 0,
        (Reduction::Min, DType::BF16) => 0x7f80,
        (Reduction::Min, DType::F32) => f32::INFINITY.to_bits().into(),
        (Reduction::Min, DType::F64) => f64::INFINITY.to_bits(),
        (Reduction::Min, DType::I32) => i32::MAX as u64,
        (Reduction::Min, _) => u64::MAX,
    };
    let bytes = &bits.to_le_bytes()[..dtype.size()];
    HostArray::from_bytes(&ArrayType::scalar(dtype), bytes).expect("one element")
}
